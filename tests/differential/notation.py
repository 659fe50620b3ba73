"""The notation, a second time: plain Python, written from its description and not from the C code. Slow, straight, and without any sharing."""
import re

BLOCKS = [f"IN{i:02}" for i in range(12)] + ["M00"] + [f"OUT{i:02}" for i in range(12)]


class Wrong(Exception):
    """The text does not parse."""


def parse_items(text, read_value):
    """Values a spec names: "a", "a-b", "a-b(+n)", commas between; spaces between any two parts. None where it is empty."""
    found = set()
    empty = True
    for item in text.split(","):
        item = item.strip()
        if not item:
            continue
        empty = False
        match = re.fullmatch(r"(\w+)(?:\s*-\s*(\w+)(?:\s*\(\s*\+?\s*(\d+)\s*\))?)?", item, re.ASCII)
        if not match:
            raise Wrong(item)
        low = high = read_value(match[1])
        step = 1
        if match[2]:
            low, high = sorted((low, read_value(match[2])))
            step = int(match[3] or 1)
        if step == 0:
            raise Wrong(item)
        found.update(range(low, high + 1, step))
    return None if empty else found


def parse_layers(text):
    def index(name):
        if name not in BLOCKS:
            raise Wrong(name)
        return BLOCKS.index(name)

    found = parse_items(text, index)
    return list(range(25)) if found is None else sorted(found)


def parse_steps(text, total):
    def number(digits):
        if not digits.isdigit() or int(digits) == 0:
            raise Wrong(digits)
        return int(digits)

    found = parse_items(text, number)
    return list(range(1, total + 1)) if found is None else sorted(step for step in found if step <= total)


def split_groups(prompt):
    """Texts and the groups between them, in turn."""
    pieces = [""]
    at = 0
    while at < len(prompt):
        if prompt[at] == "\\" and at + 1 < len(prompt):
            pieces[-1] += prompt[at : at + 2]
            at += 2
        elif prompt.startswith("(~:", at):
            end = prompt.find(":~)", at + 3)
            if end < 0:
                raise Wrong("unclosed")
            pieces += [prompt[at + 3 : end], ""]
            at = end + 3
        else:
            pieces[-1] += prompt[at]
            at += 1
    return pieces


def parse_group(group):
    """[(set of blocks, or None for _; text)]"""
    entries = []
    at = 0
    while True:
        while at < len(group) and group[at].isspace():
            at += 1
        if at == len(group):
            return entries
        colon = group.find(":", at)
        if colon < 0:
            raise Wrong("no colon")
        spec = group[at:colon].strip()
        if spec == "_":
            blocks = None
        else:
            if not spec.replace(",", "").strip():
                raise Wrong("an empty spec")
            blocks = set(parse_layers(spec))
        text = ""
        at = colon + 1
        while at < len(group) and group[at] != ";":
            if group[at] == "\\" and at + 1 < len(group):
                text += ";" if group[at + 1] == ";" else group[at : at + 2]
                at += 2
            else:
                text += group[at]
                at += 1
        if at == len(group) and "\n" in text:
            head, tail = text.rsplit("\n", 1)
            text = text if tail.strip() else head
        if blocks is None:
            text = text.lstrip(" \t")
        entries.append((blocks, text))
        at += 1
        if at > len(group):
            return entries


def text_for(entries, block):
    own = [text for blocks, text in entries if blocks is not None and block in blocks]
    others = [text for blocks, text in entries if blocks is None]
    return own[-1] if own else others[-1] if others else ""


def parse_layer_prompt(prompt):
    """Every block's prompt, and the erased one."""
    pieces = split_groups(prompt)
    groups = [parse_group(group) for group in pieces[1::2]]
    texts = pieces[0::2]
    blocks = []
    for block in range(25):
        whole = texts[0]
        for group, text in zip(groups, texts[1:]):
            whole += text_for(group, block) + text
        blocks.append(whole)
    return blocks, "".join(texts)


def parse_emphasis(text):
    """[[text, weight]]"""
    pieces = []
    round_open, square_open = [], []

    def multiply(first, factor):
        for piece in pieces[first:]:
            piece[1] *= factor

    def add(plain):
        for i, part in enumerate(re.split(r"\s*\bBREAK\b\s*", plain)):
            if i:
                pieces.append(["BREAK", -1.0])
            pieces.append([part, 1.0])

    token = re.compile(r"\\([()\[\]\\])|(\\)|(\()|(\[)|:([+-]?(?:\d+\.?\d*|\.\d+))\)|(\))|(\])|([^\\()\[\]:]+|:)")
    for match in token.finditer(text):
        escaped, dropped, opened, squared, number, closed, unsquared, plain = match.groups()
        if escaped:
            pieces.append([escaped, 1.0])
        elif dropped:
            pieces.append(["", 1.0])  # what is left of it
        elif opened:
            round_open.append(len(pieces))
        elif squared:
            square_open.append(len(pieces))
        elif number is not None and round_open:
            multiply(round_open.pop(), float(number))
        elif closed and round_open:
            multiply(round_open.pop(), 1.1)
        elif unsquared and square_open:
            multiply(square_open.pop(), 1 / 1.1)
        else:
            add(match[0])
    for first in round_open:
        multiply(first, 1.1)
    for first in square_open:
        multiply(first, 1 / 1.1)
    joined = []
    for piece, weight in pieces or [["", 1.0]]:
        if joined and joined[-1][1] == weight:
            joined[-1][0] += piece
        else:
            joined.append([piece, weight])
    return joined


def steps_of(when, total):
    return min(total, int(float(when) * total) if "." in when else int(when))


def schedule(node, total):
    """[(until, text)] of a tree: a string; ["all", nodes...]; ["from", node, node, when]; ["turns", nodes...]."""
    ends = {total}

    def collect(tree):
        if isinstance(tree, str):
            return
        if tree[0] == "turns":
            ends.update(range(1, total + 1))
        if tree[0] == "from" and steps_of(tree[3], total) >= 1:
            ends.add(steps_of(tree[3], total))
        for child in tree[1:]:
            collect(child)

    def text_at(tree, step):
        if isinstance(tree, str):
            return tree
        if tree[0] == "all":
            return "".join(text_at(child, step) for child in tree[1:])
        if tree[0] == "turns":
            return text_at(tree[1 + (step - 1) % (len(tree) - 1)], step)
        return text_at(tree[1] if step <= steps_of(tree[3], total) else tree[2], step)

    collect(node)
    return [(end, text_at(node, end)) for end in sorted(ends)]


def grid(w, h, channels):
    """[columns, rows]"""
    n = [w, h]
    while channels % 2 == 0:
        n[0 if n[0] <= n[1] else 1] *= 2
        channels //= 2
    n[0 if n[0] <= n[1] else 1] *= channels
    if n[0] > n[1]:
        while n[0] > 2 * n[1] and n[0] // w % 2 == 0:
            n = [n[0] // 2, n[1] * 2]
    else:
        while 2 * n[0] < n[1] and n[1] // h % 2 == 0:
            n = [n[0] * 2, n[1] // 2]
    return [n[0] // w, n[1] // h]
