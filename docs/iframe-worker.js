/* Search in pages that are opened from the file system, where a browser starts no worker: the search's script runs in a hidden frame instead.
 * Material looks for the name IFrameWorker; its own copy of such a thing would come from a network. */
window.IFrameWorker = class extends EventTarget {
    constructor(url) {
        super();
        this.waiting = []; // messages until the script has been read
        const frame = document.createElement("iframe");
        frame.hidden = true;
        frame.srcdoc = "<!doctype html>";
        frame.addEventListener("load", () => this.fill(frame, url), { once: true });
        document.documentElement.append(frame);
    }

    fill(frame, url) {
        const inside = frame.contentWindow;
        const read = (source) => new Promise((done, failed) => {
            const script = inside.document.createElement("script");
            Object.assign(script, { src: source, onload: done, onerror: failed });
            inside.document.head.append(script);
        });
        inside.postMessage = (data) => {
            const event = new MessageEvent("message", { data });
            this.dispatchEvent(event);
            this.onmessage?.(event);
        };
        inside.importScripts = (...sources) => sources.reduce((before, source) => before.then(() => read(source)), Promise.resolve());
        read(url).then(() => {
            this.send = (data) => inside.dispatchEvent(new inside.MessageEvent("message", { data }));
            this.waiting.forEach(this.send);
        }, (error) => this.onerror?.(error));
    }

    postMessage(data) {
        this.send ? this.send(data) : this.waiting.push(data);
    }
};
if (location.protocol === "file:") window.Worker = window.IFrameWorker;
