"use strict";
// The page's data: the manifest, the tokens and norms beside it, and the pictures as base64, each decoded when it is first shown.
const data = id => { const e = document.getElementById(id); return e ? JSON.parse(e.textContent) : null; };
const manifest = data("manifest"), tokens = data("tokenfile") || [], csv = data("difffile") || "";
const run = manifest.run, files = manifest.files;
const $ = id => document.getElementById(id);
const make = (tag, text, className) => {
    const e = document.createElement(tag);
    if (text !== undefined) e.textContent = text;
    if (className) e.className = className;
    return e;
};
const pngs = new Map(Array.from(document.querySelectorAll("script.png"), e => [e.dataset.file, e]));
const url = file => pngs.has(file) ? "data:image/png;base64," + pngs.get(file).textContent : "";
const names = { features: "features", diff: "difference", k: "K", qk: "QK: tokens by heads", vqk: "VQK", words: "words", "self-queries": "self: where positions look",
    "self-received": "self: attention received", "self-entropy": "self: entropy", "self-pca": "self: three components" };
const shownFiles = files.filter(f => f.block && pngs.has(f.file));
const kindOf = f => f.kind + (f.depth ? " " + (f.depth + 1) : "") + (f.average ? " average" : "");
const kindName = k => { const [kind, ...rest] = k.split(" "); return [names[kind] || kind, ...rest.map(r => /^\d/.test(r) ? "layer " + r : r)].join(", "); };
const sideOf = f => f.side + (f.part ? "-and" + f.part : "");
const rowOf = f => sideOf(f) + (f.variant === "enabled" ? "" : " " + f.variant);
// What a picture and its twin are, and a difference is the first of minus the second.
const twins = (() => {
    const { other } = run;
    if (!other) return ["with layer prompts", "without layer prompts"];
    if (other.model !== run.model) return ["by " + run.model, "by " + other.model];
    if (!other.loras !== !run.loras) return run.loras ? ["with LoRAs", "without LoRAs"] : ["without LoRAs", "with LoRAs"];
    return other.loras !== run.loras ? ["with " + run.loras, "with " + other.loras] : ["by the model", "by the other model"];
})();
const rowName = r => {
    const [side, variant] = r.split(" "), part = /-and(\d+)$/.exec(side), { weight } = run.prompts.find(p => rowOf(p) === r) || {};
    return (side === "uncond" ? "negative prompt" : "prompt" + (part ? ", part " + (Number(part[1]) + 1) : ""))
        + (weight === undefined ? "" : ", weight " + weight) + (variant ? ", " + twins[1] : "");
};
const unique = list => [...new Set(list)];
const order = b => (b.startsWith("IN") ? 0 : b.startsWith("M") ? 1000 : 2000) + parseInt(b.replace(/\D/g, "") || "0", 10);
const state = { kind: null, image: "0", row: "cond", block: null, step: 0 };
let steps = [];

const allBlocks = run.blocks.map(b => b.name);

function fill(select, options, value, name) {
    select.replaceChildren(...options.map(o => { const e = make("option", name(o)); e.value = o; return e; }));
    if (options.includes(value)) select.value = value;
    select.parentElement.hidden = options.length < 2;
    return options.length ? select.value : value;
}

const matching = want => shownFiles.filter(f => (!want.kind || kindOf(f) === want.kind) && (!want.image || String(f.image) === want.image)
    && (!want.row || rowOf(f) === want.row) && (!want.block || f.block === want.block) && (want.step === undefined || f.step === want.step));

// What is chosen, as far as it is there; else what is nearest.
function update() {
    state.kind = fill($("kind"), unique(shownFiles.map(kindOf)), state.kind, kindName);
    state.image = fill($("image"), unique(matching({ kind: state.kind }).map(f => String(f.image))), state.image, i => i);
    state.row = fill($("row"), unique(matching({ kind: state.kind, image: state.image }).map(rowOf)), state.row,
        r => rowName(state.kind.startsWith("diff") ? r.split(" ")[0] : r)); // a difference is of both twins
    const here = matching({ kind: state.kind, image: state.image, row: state.row }), there = new Set(here.map(f => f.block));
    if (!there.has(state.block)) state.block = [...there][0] || null;
    const step = steps[state.step];
    steps = unique(here.map(f => f.step)).sort((a, b) => a - b);
    state.step = Math.max(0, steps.includes(step) ? steps.indexOf(step) : Math.min(state.step, steps.length - 1));
    $("step").max = Math.max(0, steps.length - 1);
    $("step").value = state.step;
    $("stepname").textContent = steps.length ? steps[state.step] + " of " + run.evaluations : "";
    for (const b of $("blocks").children) {
        b.disabled = !there.has(b.textContent);
        b.setAttribute("aria-pressed", String(b.textContent === state.block));
    }
    show(here.find(f => f.block === state.block && f.step === steps[state.step]));
    drawChart();
    buildTokens();
    for (const r of $("layerrows").children) r.setAttribute("aria-selected", String(r.dataset.block === state.block));
}

function show(file) {
    const img = $("shown");
    if (!file) { img.removeAttribute("src"); $("caption").textContent = shownFiles.length ? "nothing here at this step" : "this run has no canvases"; return; }
    img.onload = () => {
        const wide = $("stage").clientWidth, scale = Math.max(1, Math.min(8, Math.floor(wide / img.naturalWidth)));
        img.style.width = (img.naturalWidth > wide ? wide : img.naturalWidth * scale) + "px";
    };
    img.src = url(file.file);
    img.alt = file.block + ", step " + file.step + ", " + kindName(kindOf(file));
    $("caption").textContent = `${file.block}, step ${file.step}: ${file.grid[0]} × ${file.grid[1]} tiles of ${file.tile[0]} × ${file.tile[1]}`
        + (file.sigma === undefined ? "" : `, sigma ${Number(file.sigma).toPrecision(4)}`) + ` · ${file.file}`;
}

// What a pixel says of the value that it shows: the run's colour undone gives a level of -1 to 1, and its transform undone a value, or of a tile's own scale the share of it. Null where
// colours do not surely tell: expressions, and what white-black cuts off. QK's values are never below 0, so that white-black's magnitudes are values.
const hueLevel = (r, g, b) => {
    const max = Math.max(r, g, b), d = max - Math.min(r, g, b);
    if (!d) return 0;
    const hue = (max === r ? (g - b) / d + 6 : max === g ? (b - r) / d + 2 : (r - g) / d + 4) % 6 / 6;
    return 3 * (hue < 1 / 6 ? hue + 1 : hue) - 2; // (2 + v) / 3: from green, -1, over blue, 0, to red, 1
};
const levels = new Map([["white-black", r => r / 255], ["red-blue", (r, g, b) => (r - b) / 255], ["hsl:(2+v)/3;1.0;0.5", hueLevel]]);
const undo = (() => {
    const { color = "", transform = "" } = run, level = levels.get(color), grey = color === "white-black";
    const [name, rest] = transform.split(":"), given = (rest || "").split(",").map(Number);
    const [a, b] = given.length > 1 ? given : name === "linear" ? [-1, 1] : [1, 0];
    if (!level) return null;
    if (name === "auto01") return level;
    if (name === "auto11") return grey ? null : level;
    if (name === "linear") {
        const sizes = [Math.abs(a), Math.abs(b)], base = !grey ? a : a < 0 && b > 0 ? 0 : Math.min(...sizes), span = grey ? Math.max(...sizes) - base : b - a;
        return (...rgb) => base + span * (grey ? level(...rgb) : (level(...rgb) + 1) / 2);
    }
    if (name !== "sigmoid" || !a || (grey && b < 0)) return null;
    return (...rgb) => {
        const share = Math.max(1 / 512, Math.min(511 / 512, 0.5 + level(...rgb) / 2 * (grey && a < 0 ? -1 : 1)));
        return Math.log(share / (1 - share)) / a - b;
    };
})();

// One token's map: its column of the QK canvas, the mean over the heads' rows.
const valuesOf = async (file, column) => {
    const img = new Image();
    img.src = url(file.file);
    await img.decode();
    const [w, h] = file.tile, rows = file.grid[1], work = document.createElement("canvas");
    work.width = w;
    work.height = h * rows;
    const ctx = work.getContext("2d", { willReadFrequently: true });
    for (let r = 0; r < rows; r++) ctx.drawImage(img, column * (w + 1), r * (h + 1), w, h, 0, r * h, w, h);
    const pixels = ctx.getImageData(0, 0, w, h * rows).data, values = new Float32Array(w * h);
    for (let i = 0; i < w * h * rows; i++) values[i % (w * h)] += undo(pixels[4 * i], pixels[4 * i + 1], pixels[4 * i + 2]) / rows;
    return { w, h, values };
};

// The map in colours, to be laid over the picture; null where it is one value.
const heat = async (file, column) => {
    const { w, h, values } = await valuesOf(file, column), lo = Math.min(...values), span = Math.max(...values) - lo, small = document.createElement("canvas");
    if (!span) return null;
    small.width = w;
    small.height = h;
    const out = new ImageData(w, h), tooth = (t, c) => 255 * Math.max(0, Math.min(1, 1.5 - Math.abs(4 * t - c)));
    values.forEach((v, i) => { const t = (v - lo) / span; out.data.set([tooth(t, 3), tooth(t, 2), tooth(t, 1), 255], 4 * i); });
    small.getContext("2d").putImageData(out, 0, 0);
    return small;
};

// The QK file for what is chosen: of that block, or else of any, nearest to the step.
function mapFile(image, variant) {
    const all = shownFiles.filter(f => f.kind === "qk" && f.image === image && f.variant === variant && sideOf(f) === "cond" && !f.depth);
    const step = steps[state.step] || 0;
    const rank = f => (f.block === state.block ? 0 : 1e6) + Math.abs(f.step - step) * 10 + (f.average ? 0 : 1);
    return all.sort((a, b) => rank(a) - rank(b))[0];
}

// Where a token of the listed context stands in another one, which has its words but for some: as many of its text stand before it. Undefined where there are not so many.
const columnIn = (context, column) => {
    const same = c => c.text === column.text, nth = tokens[listed].columns.slice(0, column.column).filter(same).length;
    return context === listed ? column : (tokens[context]?.columns || []).filter(same)[nth];
};

let pointed = null; // the token's button; a picture may be decoded after the pointer went on
async function showToken(frame, column, button) {
    const from = mapFile(Number(frame.dataset.image), frame.dataset.variant), own = from && columnIn(from.context, column), map = own && await heat(from, own.column);
    if (!from || pointed !== button) return;
    const canvas = frame.querySelector("canvas"), to = canvas.getContext("2d");
    to.clearRect(0, 0, canvas.width, canvas.height);
    if (map) to.drawImage(map, 0, 0, canvas.width, canvas.height);
    canvas.classList.toggle("on", !!map);
    const said = !own ? "not in the prompt of" : map ? "in" : "alike everywhere in";
    frame.nextSibling.textContent = frame.dataset.name + ` · "${column.text}" ${said} ${from.block}, step ${from.step}`;
}

let listed = null;
function buildTokens() {
    const file = mapFile(0, "enabled");
    if (file && file.context === listed) return; // as it is: a token may be pointed at
    listed = file ? file.context : null;
    const columns = file && tokens[file.context] ? tokens[file.context].columns : null;
    $("tokens").hidden = !columns;
    if (!columns) return;
    if (!undo) {
        $("tokenhint").textContent = `No token's map is shown over the picture: the colours ${run.color || "of this run"}, ${run.transform || ""} do not tell the values. The QK canvases have them in these colours.`;
        return;
    }
    const padding = columns.findIndex(c => c.column > 0 && c.text === "<end>"), used = columns.filter(c => c.word >= 0 || c.column === 0 || c.column === padding);
    $("tokenlist").replaceChildren(...used.map(c => {
        const b = make("button", c.text, c.word < 0 ? "quiet" : "");
        b.dataset.column = c.column;
        const on = () => { pointed = b; document.querySelectorAll(".frame").forEach(f => showToken(f, c, b)); };
        const off = () => {
            pointed = null;
            document.querySelectorAll(".frame").forEach(f => { f.querySelector("canvas").classList.remove("on"); f.nextSibling.textContent = f.dataset.name; });
        };
        b.onmouseenter = b.onfocus = on;
        b.onmouseleave = b.onblur = off;
        return b;
    }));
}

// Of all images. JSON's numbers have no more digits than 2^53; the pictures' text has them.
function seeds() {
    const count = run.batch_size * run.batch_count, text = run.infotext || "", said = Number.isSafeInteger(run.seed) ? run.seed : /^.*, Seed: (\d+)/s.exec(text)?.[1];
    if (!(count > 1) || said === undefined || /, Variation seed: \d/.test(text)) return `seed ${said ?? run.seed}`; // variations have the same seed
    return `seeds ${said} to ${BigInt.asUintN(64, BigInt(said) + BigInt(count - 1))}`;
}

function buildHead() {
    document.title = "unetdump: " + run.prompt.slice(0, 60);
    $("title").textContent = run.prompt || "(no prompt)";
    $("negative").textContent = run.negative_prompt ? "without: " + run.negative_prompt : "";
    $("parameters").textContent = [`${run.steps_asked ?? run.steps} steps of ${run.sampler}` + (run.steps === (run.steps_asked ?? run.steps) ? "" : ` (${run.steps} run)`), run.schedule, `CFG ${run.cfg}`, seeds(), `${run.width} × ${run.height}`, run.model, `${run.device}, ${run.precision}`].join(" · ");
    for (const f of files.filter(f => f.source === "image" && pngs.has(f.file))) {
        const figure = make("figure"), frame = make("div", undefined, "frame"), img = make("img"), canvas = make("canvas");
        const twin = (run.batch_size * run.batch_count > 1 ? `image ${f.image}, ` : "") + twins[f.variant === "enabled" ? 0 : 1];
        frame.dataset.name = run.variants > 1 ? twin : f.file;
        frame.dataset.image = f.image;
        frame.dataset.variant = f.variant;
        img.src = url(f.file);
        img.alt = frame.dataset.name;
        canvas.width = run.width;
        canvas.height = run.height;
        frame.append(img, canvas);
        figure.append(frame, make("figcaption", frame.dataset.name));
        $("pictures").append(figure);
    }
}

function buildBlocks() {
    $("blocks").replaceChildren(...allBlocks.map(name => {
        const b = make("button", name);
        b.onclick = () => { state.block = name; update(); };
        return b;
    }));
}

const norms = csv.trim().split("\n").slice(1).map(l => l.split(",")).filter(c => c.length >= 8)
    .map(c => ({ image: c[0], block: c[1], step: Number(c[2]), side: c[3], value: Number(c[5]) }));

function buildDifference() {
    const { other } = run;
    $("differencename").textContent = !other ? "What the layer prompts change" : other.model === run.model ? "What the LoRAs change" : "How the models differ";
    $("differencehint").textContent = `Each block's output ${twins[0]} minus the one ${twins[1]}, relative to the latter (L2), at the chosen step; `
        + "thin lines: the least and the most of all steps.";
}

// Bars by block, at the step nearest to the chosen one.
function drawChart() {
    const mine = norms.filter(n => n.image === state.image && n.side === state.row.split(" ")[0]);
    const list = mine.length ? mine : norms;
    $("difference").hidden = !list.length;
    if (!list.length) return;
    const all = unique(list.map(n => n.block)).sort((a, b) => order(a) - order(b)), near = unique(list.map(n => n.step));
    const step = near.reduce((a, b) => Math.abs(b - (steps[state.step] || 0)) < Math.abs(a - (steps[state.step] || 0)) ? b : a);
    const W = 1000, H = 220, top = Math.max(...list.map(n => n.value)) || 1, slot = (W - 50) / all.length, y = v => H - 36 - v / top * (H - 56);
    const svg = (tag, attributes, text) => {
        const e = document.createElementNS("http://www.w3.org/2000/svg", tag);
        for (const [k, v] of Object.entries(attributes)) e.setAttribute(k, v);
        if (text !== undefined) e.textContent = text;
        return e;
    };
    const root = svg("svg", { viewBox: `0 0 ${W} ${H}`, role: "img", "aria-label": `relative L2 by block at step ${step}` });
    for (const t of [0, 0.5, 1]) root.append(svg("line", { x1: 44, x2: W, y1: y(t * top), y2: y(t * top) }), svg("text", { x: 2, y: y(t * top) + 4 }, (t * top).toPrecision(2)));
    all.forEach((block, i) => {
        const own = list.filter(n => n.block === block), at = own.find(n => n.step === step), x = 50 + i * slot;
        const bar = svg("rect", { class: "bar" + (block === state.block ? " on" : ""), x: x + slot * 0.15, width: slot * 0.7, y: y(at ? at.value : 0), height: H - 36 - y(at ? at.value : 0) });
        bar.append(svg("title", {}, `${block}, step ${step}: ${at ? at.value.toPrecision(3) : "none"}`));
        bar.onclick = () => { state.block = block; if (shownFiles.some(f => f.kind === "diff")) state.kind = "diff"; update(); };
        root.append(bar, svg("line", { class: "range", x1: x + slot / 2, x2: x + slot / 2, y1: y(Math.min(...own.map(n => n.value))), y2: y(Math.max(...own.map(n => n.value))) }));
        root.append(svg("text", { x: x + slot / 2, y: H - 18, "text-anchor": "middle" }, block));
    });
    root.append(svg("text", { x: W, y: H - 3, "text-anchor": "end" }, "step " + step));
    $("chart").replaceChildren(root);
}

function buildWords() {
    const list = files.filter(f => (f.kind === "heat" || f.kind === "overlay") && pngs.has(f.file));
    $("words").hidden = !list.length;
    $("wordlist").replaceChildren(...list.map(f => {
        const figure = make("figure"), img = make("img");
        img.src = url(f.file);
        img.loading = "lazy";
        if (f.kind === "heat") img.style.width = "auto", img.style.height = "200px";
        img.alt = f.word ? `where "${f.word}" is` : "heat of all words: " + run.words.join(", ");
        figure.append(img, make("figcaption", (f.word ? `"${f.word}"` : run.words.join(" | ")) + (rowOf(f) === "cond" ? "" : ", " + rowName(rowOf(f))) + (f.image ? ", image " + f.image : "")));
        return figure;
    }));
}

function buildLayers() {
    const rows = unique(run.prompts.map(rowOf));
    const head = make("tr");
    for (const name of ["block", "attention", ...rows.map(rowName), "shown here"]) head.append(make("th", name));
    $("layerhead").append(head);
    for (const { name: block, heads } of run.blocks) {
        const tr = make("tr"), own = files.filter(f => f.block === block);
        tr.dataset.block = block;
        tr.append(make("td", block), make("td", heads ? heads + " heads" : "none"));
        for (const row of rows) {
            const mine = run.prompts.filter(p => rowOf(p) === row && order(p.first) <= order(block) && order(block) <= order(p.last))
                .filter((p, i, all) => i === all.length - 1 || p.context !== all[i + 1].context);
            tr.append(make("td", mine.map(p => (mine.length > 1 ? `to step ${p.until}: ` : "") + (manifest.contexts[p.context].text ?? "(a tensor)")).join("\n"), "prompt"));
        }
        tr.append(make("td", unique(own.map(f => f.kind)).join(" ")));
        tr.onclick = () => { state.block = block; update(); };
        $("layerrows").append(tr);
    }
}

for (const id of ["kind", "image", "row"]) $(id).onchange = () => { state[id] = $(id).value; update(); };
$("step").oninput = () => { state.step = Number($("step").value); update(); };
window.onresize = () => update();
buildHead();
buildBlocks();
buildDifference();
buildWords();
buildLayers();
const kinds = unique(shownFiles.map(kindOf));
state.kind = kinds.includes("features") ? "features" : kinds[0];
steps = unique(shownFiles.map(f => f.step)).sort((a, b) => a - b);
state.step = Math.max(0, steps.length - 1);
update();
