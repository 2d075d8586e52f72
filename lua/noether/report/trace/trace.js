// SPDX-License-Identifier: MIT
// Every node is made here and text is set by textContent alone: what a run has said cannot become
// markup. Inline style attributes are forbidden by the page's own policy.
"use strict";
(() => {
  const data = JSON.parse(document.getElementById("data").textContent);
  const byId = (id) => document.getElementById(id);
  const SVG = "http://www.w3.org/2000/svg";
  const KNOWN = {
    wrap: ["wrap", "Wrap", "find the stage, check the input, write its script"],
    resolve: ["resolve", "Resolve", "find or build the runtime"],
    "set-up": ["setup", "Set up", "choose the sandbox and describe it"],
    install: ["setup", "Install", "install the packages that the code names"],
    compile: ["setup", "Compile", "make of the code what the interpreter runs"],
    run: ["run", "Run", "the stage's process, its sandbox included"],
    decode: ["decode", "Decode", "judge and read the answer"],
    wait: ["wait", "Wait", "before another attempt"],
  };
  const phase = (name) => KNOWN[name] || ["other", name, ""];

  // Making nodes.

  function fill(node, children) {
    for (const child of children) {
      if (child !== null && child !== undefined && child !== false) node.append(child);
    }
    return node;
  }
  function el(name, attributes, ...children) {
    const node = document.createElement(name);
    for (const key in attributes) node.setAttribute(key, attributes[key]);
    return fill(node, children);
  }
  function svg(name, attributes, ...children) {
    const node = document.createElementNS(SVG, name);
    for (const key in attributes) node.setAttribute(key, attributes[key]);
    return fill(node, children);
  }

  // A text that begins as no image of ours is none.
  function image(run, output) {
    if (!output.image?.startsWith("data:image/")) return null;
    return el("img", { src: output.image, alt: output.name + " of run " + run.index });
  }

  // Numbers.

  const digits = (x) => (x >= 100 ? x.toFixed(0) : x >= 10 ? x.toFixed(1) : x.toFixed(2));
  function time(us) {
    if (us === undefined || us === null) return "";
    if (us === 0) return "0";
    if (us < 1000) return us.toFixed(0) + " \u00b5s";
    if (us < 999500) return digits(us / 1000) + " ms";
    if (us < 120e6) return digits(us / 1e6) + " s";
    return (us / 60e6).toFixed(1) + " min";
  }
  function bytes(n) {
    if (n === undefined || n === null) return "";
    const units = ["B", "KiB", "MiB", "GiB", "TiB"];
    let unit = 0;
    while (n >= 1024 && unit < units.length - 1) {
      n /= 1024;
      unit += 1;
    }
    return (unit === 0 ? n.toFixed(0) : digits(n)) + " " + units[unit];
  }
  const amount = (meter, n) => (meter.unit === "us" ? time(n) : bytes(n));
  const count = (n) => n.toLocaleString("en-US");
  function quantile(sorted, part) {
    return sorted[Math.max(0, Math.ceil(sorted.length * part) - 1)];
  }

  // Runs.

  const runs = data.runs;
  const timed = runs.filter((run) => run.started !== undefined && run.us !== undefined);
  const zero = timed.reduce((least, run) => Math.min(least, run.started), Infinity);
  let end = 1;
  for (const run of timed) {
    run.from = run.started - zero;
    run.to = run.from + run.us;
    run.meter = {};
    for (const meter of run.meters) run.meter[meter.name] = meter;
    end = Math.max(end, run.to);
  }
  for (const run of runs) run.meter = run.meter || {};

  // Each run takes the first lane that is free when it begins.
  const lanes = [];
  for (const run of timed.slice().sort((a, b) => a.from - b.from || a.index - b.index)) {
    let lane = lanes.findIndex((free) => free <= run.from);
    if (lane < 0) {
      lane = lanes.length;
      lanes.push(0);
    }
    lanes[lane] = run.to;
    run.lane = lane;
  }
  const failed = runs.filter((run) => run.error);
  const status = (run) => (run.error ? run.error.kind : run.cached ? "cached" : "ok");

  // Summary.

  function tile(value, label, bad) {
    return el(
      "div",
      { class: "tile" },
      el("b", bad ? { class: "bad" } : {}, value),
      el("span", {}, label),
    );
  }
  function summarize() {
    const total = runs.length + data.left_out;
    byId("summary").textContent =
      count(total) +
      (total === 1 ? " run" : " runs") +
      (data.left_out ? " (" + count(data.left_out) + " of them left out here)" : "") +
      " \u00b7 " +
      data.created +
      " \u00b7 noether " +
      data.version;
    const times = timed.map((run) => run.us).sort((a, b) => a - b);
    const rss = runs.map((run) => (run.meter.memory ? run.meter.memory.used : 0));
    const spent = {};
    let sum = 0;
    for (const run of timed) {
      for (const span of run.spans) {
        spent[span[0]] = (spent[span[0]] || 0) + span[2];
        sum += span[2];
      }
    }
    const tiles = byId("tiles");
    if (timed.length > 0) {
      tiles.append(tile(time(end), timed.length > 1 ? "from first start to last end" : "in all"));
    }
    if (timed.length > 1) {
      tiles.append(
        tile(
          digits(timed.length / (end / 1e6)) + " /s",
          "runs, up to " + count(lanes.length) + " at once",
        ),
      );
      tiles.append(
        tile(time(quantile(times, 0.5)), "median run; 95 % within " + time(quantile(times, 0.95))),
      );
    }
    if (sum > 0) {
      tiles.append(
        tile(
          ((100 * (spent.run || 0)) / sum).toFixed(1) + " %",
          "of the time in the stage's process",
        ),
      );
    }
    const most = Math.max(0, ...rss);
    if (most > 0) {
      tiles.append(tile(bytes(most), runs.length > 1 ? "memory of the largest" : "memory at most"));
    }
    const kinds = {};
    for (const run of failed) kinds[run.error.kind] = (kinds[run.error.kind] || 0) + 1;
    const words = Object.keys(kinds)
      .sort((a, b) => kinds[b] - kinds[a])
      .map((kind) => (runs.length > 1 ? count(kinds[kind]) + " " : "") + kind)
      .join(", ");
    tiles.append(
      runs.length === 0
        ? tile("none", "nothing has run yet")
        : runs.length === 1
          ? tile(
              failed.length ? "failed" : "answered",
              words || "without an error",
              failed.length > 0,
            )
          : tile(
              failed.length ? count(failed.length) + " failed" : "all answered",
              words || "without an error",
              failed.length > 0,
            ),
    );
  }
  function legend() {
    const seen = new Set();
    for (const run of timed) for (const span of run.spans) seen.add(span[0]);
    const names = Object.keys(KNOWN)
      .filter((name) => seen.has(name))
      .concat([...seen].filter((name) => !KNOWN[name]));
    for (const name of names) {
      const [cls, label, meaning] = phase(name);
      byId("legend").append(el("span", { title: meaning }, el("i", { class: "f-" + cls }), label));
    }
    if (runs.some((run) => run.calls?.length)) {
      const meaning = "a function of the host, which the stage called";
      byId("legend").append(el("span", { title: meaning }, el("i", { class: "f-call" }), "Call"));
    }
    if (failed.length) {
      byId("legend").append(el("span", {}, el("i", { class: "f-bad" }), "Failed"));
    }
  }

  // Tip.

  const tip = byId("tip");
  function showTip(event, run, name) {
    const lines = [el("b", {}, "#" + run.index + " \u00b7 " + status(run))];
    if (run.error) lines.push(el("p", {}, run.error.message));
    for (const span of run.spans) {
      if (span[2] < run.us / 500 && span[0] !== name) continue;
      const label = phase(span[0])[1];
      lines.push(el("div", {}, span[0] === name ? el("b", {}, label) : label, time(span[2])));
    }
    if (run.us !== undefined) lines.push(el("div", {}, el("b", {}, "in all"), time(run.us)));
    tip.replaceChildren(...lines);
    tip.hidden = false;
    const box = tip.getBoundingClientRect();
    tip.style.left = Math.max(8, Math.min(event.clientX + 14, innerWidth - box.width - 8)) + "px";
    tip.style.top =
      (event.clientY + 18 + box.height > innerHeight
        ? event.clientY - box.height - 12
        : event.clientY + 18) + "px";
  }
  const hideTip = () => {
    tip.hidden = true;
  };

  // Timeline.

  const view = { from: 0, to: end };
  const host = byId("timeline");
  function niceStep(span, most) {
    const raw = span / most;
    const power = 10 ** Math.floor(Math.log10(raw));
    for (const factor of [1, 2, 5, 10]) if (power * factor >= raw) return power * factor;
    return power * 10;
  }
  function axis(root, width, height, from, to, x) {
    const step = niceStep(to - from, Math.max(2, width / 110));
    for (let at = Math.ceil(from / step) * step; at <= to; at += step) {
      const left = x(at);
      root.append(svg("line", { class: "tick", x1: left, x2: left, y1: 18, y2: height }));
      const side = left > width - 40 ? "end" : left < 20 ? "start" : "middle";
      root.append(svg("text", { class: "label", x: left, y: 12, "text-anchor": side }, time(at)));
    }
  }
  function drawRun(root, run, x, top, tall, width) {
    const group = svg("g", { class: "run-box" });
    const ends = Math.min(x(run.to), width) - (tall > 5 ? 1.5 : 0.5); // the next one begins there
    let drawn = -Infinity;
    for (const span of run.spans) {
      const left = Math.max(x(run.from + span[1]), 0);
      const right = Math.min(x(run.from + span[1] + span[2]), width);
      // What is narrower than half a pixel is drawn only where nothing is yet.
      if (right < 0 || left > width || (right - left < 0.5 && left < drawn + 0.5)) continue;
      const box = svg("rect", {
        class: "f-" + phase(span[0])[0],
        x: left,
        y: top,
        width: Math.max(Math.min(right, ends) - left, 0.7),
        height: tall,
      });
      box.addEventListener("mousemove", (event) => showTip(event, run, span[0]));
      group.append(box);
      drawn = Math.max(right, left + 0.7);
    }
    drawCalls(group, run, x, top, tall, width);
    const left = Math.max(x(run.from), 0);
    const wide = Math.max(ends - left, 2);
    if (run.error) {
      const mark = Math.max(Math.ceil(tall / 4), 2);
      group.append(
        svg("rect", { class: "f-bad", x: left, y: top + tall - mark, width: wide, height: mark }),
      );
    }
    if (run === chosen && timed.length > 1) {
      group.append(
        svg("rect", { class: "choice", x: left, y: top - 0.5, width: wide, height: tall + 1 }),
      );
    }
    group.addEventListener("click", () => choose(run));
    group.addEventListener("mouseleave", hideTip);
    root.append(group);
  }
  // Within the box of a run, where there is room.
  function drawCalls(group, run, x, top, tall, width) {
    if (tall < 10) return;
    for (const [name, start, us, error] of run.calls || []) {
      const left = x(run.from + start);
      const right = x(run.from + start + us);
      if (right < 0 || left > width) continue;
      const mark = svg("rect", {
        class: error ? "f-bad" : "f-call",
        x: Math.max(left, 0),
        y: top + tall / 4,
        width: Math.max(Math.min(right, width) - Math.max(left, 0), 1.5),
        height: tall / 2,
      });
      mark.append(svg("title", {}, name + ": " + (error || time(us))));
      group.append(mark);
    }
  }
  function drawTimeline() {
    const width = host.clientWidth || 800;
    const tall = lanes.length <= 10 ? 20 : lanes.length <= 24 ? 13 : lanes.length <= 80 ? 6 : 3;
    const gap = tall > 10 ? 5 : tall > 5 ? 2 : 1;
    const height = 26 + lanes.length * (tall + gap);
    const x = (us) => ((us - view.from) / (view.to - view.from)) * width;
    const root = svg("svg", { viewBox: "0 0 " + width + " " + height, height: height });
    axis(root, width, height, view.from, view.to, x);
    for (const run of timed) {
      if (run.to >= view.from && run.from <= view.to) {
        drawRun(root, run, x, 24 + run.lane * (tall + gap), tall, width);
      }
    }
    host.replaceChildren(root);
  }
  function zoom(factor, center) {
    const middle = center === undefined ? (view.from + view.to) / 2 : center;
    const span = Math.max((view.to - view.from) * factor, Math.min(end, 10));
    const part = (middle - view.from) / (view.to - view.from);
    show(middle - span * part, middle + span * (1 - part));
  }
  function show(from, to) {
    const span = Math.min(to - from, end);
    view.from = Math.min(Math.max(from, 0), end - span);
    view.to = view.from + span;
    drawTimeline();
  }
  const pan = (part) =>
    show(view.from + (view.to - view.from) * part, view.to + (view.to - view.from) * part);
  function timelineInput() {
    const at = (event) => {
      const box = host.getBoundingClientRect();
      return view.from + ((event.clientX - box.left) / box.width) * (view.to - view.from);
    };
    let begun = null;
    let brush = null;
    host.addEventListener(
      "wheel",
      (event) => {
        if (!event.ctrlKey && !event.metaKey && !event.shiftKey) return;
        event.preventDefault();
        if (event.shiftKey) pan((event.deltaY || event.deltaX) > 0 ? 0.1 : -0.1);
        else zoom(event.deltaY > 0 ? 1.25 : 0.8, at(event));
      },
      { passive: false },
    );
    host.addEventListener("pointerdown", (event) => {
      if (event.button === 0) begun = { us: at(event), x: event.clientX };
    });
    window.addEventListener("pointermove", (event) => {
      if (!begun || Math.abs(event.clientX - begun.x) < 5) return;
      hideTip();
      const box = host.getBoundingClientRect();
      const left = Math.max(Math.min(begun.x, event.clientX) - box.left, 0);
      const right = Math.min(Math.max(begun.x, event.clientX) - box.left, box.width);
      if (!brush?.isConnected) {
        brush = svg("rect", { class: "brush", y: 0, height: "100%" });
        host.firstChild.append(brush);
      }
      brush.setAttribute("x", left);
      brush.setAttribute("width", Math.max(right - left, 1));
    });
    window.addEventListener("pointerup", (event) => {
      if (begun && brush?.isConnected) {
        const us = at(event);
        show(Math.min(begun.us, us), Math.max(begun.us, us, Math.min(begun.us, us) + 10));
      }
      begun = brush = null;
    });
    host.addEventListener("dblclick", () => show(0, end));
    host.addEventListener("keydown", (event) => {
      const keys = {
        "+": () => zoom(0.7),
        "=": () => zoom(0.7),
        "-": () => zoom(1.4),
        0: () => show(0, end),
        ArrowLeft: () => pan(-0.15),
        ArrowRight: () => pan(0.15),
      };
      if (!keys[event.key] || event.ctrlKey || event.metaKey || event.altKey) return;
      event.preventDefault();
      keys[event.key]();
    });
    byId("zoom-in").addEventListener("click", () => zoom(0.6));
    byId("zoom-out").addEventListener("click", () => zoom(1.6));
    byId("zoom-all").addEventListener("click", () => show(0, end));
    byId("timeline-hint").textContent =
      "Drag to zoom into a part, double-click to see all. " +
      "Ctrl and wheel zoom, shift and wheel move.";
  }

  // Table.

  const used = (name) => (run) => (run.meter[name] ? run.meter[name].used : undefined);
  const phaseTime = (name) => (run) => {
    let sum;
    for (const span of run.spans) if (span[0] === name) sum = (sum || 0) + span[2];
    return sum;
  };
  const COLUMNS = [
    { label: "#", value: (run) => run.index, text: (run) => run.index },
    {
      label: "outcome",
      wide: true,
      value: (run) => (run.error ? "0" : "1") + status(run),
      text: (run) => outcome(run),
    },
    { label: "phases", left: true, value: (run) => run.from, text: (run) => stack(run) },
    { label: "in all", value: (run) => run.us, text: (run) => time(run.us) },
    { label: "run", value: phaseTime("run"), text: (run) => time(phaseTime("run")(run)) },
    { label: "processor", value: used("processor"), text: (run) => time(used("processor")(run)) },
    { label: "memory", value: used("memory"), text: (run) => bytes(used("memory")(run)) },
    { label: "output", value: used("output"), text: (run) => bytes(used("output")(run)) },
  ];
  const list = { sort: 0, descending: false, only: "all", most: 200, shown: [] };
  function outcome(run) {
    const pill = el("span", { class: "pill" + (run.error ? " bad" : "") }, status(run));
    const said = run.error ? run.error.message : run.output;
    return el("span", {}, pill, said ? el("span", { class: "muted" }, "  " + said) : null);
  }
  function stack(run) {
    const box = el("span", { class: "stack" });
    const longest = Math.max(run.us || 1, 1);
    for (const span of run.spans) {
      const piece = el("i", { class: "f-" + phase(span[0])[0] });
      piece.style.width = (100 * span[2]) / longest + "%";
      box.append(piece);
    }
    box.addEventListener("mousemove", (event) => showTip(event, run));
    box.addEventListener("mouseleave", hideTip);
    return box;
  }
  function sorted() {
    const value = COLUMNS[list.sort].value;
    const sign = list.descending ? -1 : 1;
    const chosenOnes =
      list.only === "failed"
        ? failed
        : list.only === "cached"
          ? runs.filter((run) => run.cached)
          : runs;
    return chosenOnes.slice().sort((a, b) => {
      const x = value(a);
      const y = value(b);
      if (x === y) return a.index - b.index;
      if (x === undefined) return 1;
      if (y === undefined) return -1;
      return (x < y ? -1 : 1) * sign;
    });
  }
  function drawHead() {
    byId("head").replaceChildren(
      ...COLUMNS.map((column, place) => {
        const current = list.sort === place;
        const arrow = current ? (list.descending ? " \u2193" : " \u2191") : "";
        const button = el("button", { type: "button" }, column.label + arrow);
        button.addEventListener("click", () => {
          list.descending = current ? !list.descending : place > 2;
          list.sort = place;
          drawTable();
        });
        const attributes = column.wide ? { class: "wide" } : column.left ? { class: "left" } : {};
        if (current) attributes["aria-sort"] = list.descending ? "descending" : "ascending";
        return el("th", attributes, button);
      }),
    );
  }
  function drawTable() {
    drawHead();
    list.shown = sorted();
    byId("rows").replaceChildren(
      ...list.shown.slice(0, list.most).map((run) => {
        const row = el("tr", run === chosen ? { class: "chosen" } : {});
        for (const column of COLUMNS) {
          row.append(el("td", column.wide ? { class: "wide" } : {}, column.text(run)));
        }
        row.addEventListener("click", () => choose(run));
        run.row = row;
        return row;
      }),
    );
    const rest = list.shown.length - list.most;
    byId("more").hidden = rest <= 0;
    byId("more").textContent = "Show more (" + count(Math.max(rest, 0)) + ")";
  }
  function filters() {
    const choices = [["all", "All " + count(runs.length)]];
    if (failed.length) choices.push(["failed", "Failed " + count(failed.length)]);
    const cached = runs.filter((run) => run.cached).length;
    if (cached) choices.push(["cached", "Cached " + count(cached)]);
    if (choices.length === 1) return;
    byId("filters").replaceChildren(
      ...choices.map(([name, label]) => {
        const button = el("button", { type: "button", "aria-pressed": list.only === name }, label);
        button.addEventListener("click", () => {
          list.only = name;
          filters();
          drawTable();
        });
        return button;
      }),
    );
  }

  // Detail.

  let chosen = null;
  function waterfall(run) {
    const box = el("div", { class: "waterfall" });
    const width = Math.max(Math.min(byId("detail").clientWidth - 40, 900), 280);
    const from = 76;
    const to = width - 76;
    const total = Math.max(run.us, 1);
    const tall = 20;
    const spans = run.spans.filter((span) => KNOWN[span[0]] || span[2] > total / 200);
    const root = svg("svg", {
      viewBox: "0 0 " + width + " " + spans.length * tall,
      height: spans.length * tall,
    });
    spans.forEach((span, place) => {
      const y = place * tall;
      const left = from + (span[1] / total) * (to - from);
      const wide = Math.max((span[2] / total) * (to - from), 1.5);
      const [cls, label, meaning] = phase(span[0]);
      root.append(
        svg(
          "g",
          {},
          svg("title", {}, label + ": " + meaning),
          svg("text", { class: "ink", x: 0, y: y + 14 }, label),
          svg("rect", { class: "f-track", x: from, y: y + 5, width: to - from, height: 10, rx: 2 }),
          svg("rect", { class: "f-" + cls, x: left, y: y + 5, width: wide, height: 10, rx: 1 }),
          svg("text", { class: "label", x: width, y: y + 14, "text-anchor": "end" }, time(span[2])),
        ),
      );
    });
    box.append(root);
    return box;
  }
  function meterRow(meter) {
    const part = meter.limit ? Math.min(meter.used / meter.limit, 1) : 0;
    const full = el("i", {});
    full.style.width = 100 * part + "%";
    const cls = part >= 1 ? " over" : part >= 0.75 ? " near" : "";
    return el(
      "div",
      { class: "meter" },
      el("span", {}, meter.name),
      meter.limit ? el("div", { class: "track" + cls }, full) : el("span", {}),
      el(
        "span",
        { class: "muted" },
        amount(meter, meter.used) +
          (meter.limit ? " of " + amount(meter, meter.limit) : ", no limit"),
      ),
    );
  }
  function facts(run) {
    const box = el("dl", {});
    const fact = (name, value) => {
      if (value !== undefined && value !== null && value !== "") {
        box.append(el("dt", {}, name), el("dd", {}, String(value)));
      }
    };
    if (run.ran) {
      const exit = run.reason === "exit" ? "exit " + run.exit_code : run.reason;
      fact("ended by", run.signal || exit);
    }
    fact("runtime", [run.language, run.version].filter(Boolean).join(" "));
    fact("reference", run.reference);
    fact("isolation", run.isolation);
    fact("stage", run.stage);
    return box;
  }
  function attempts(run) {
    return run.attempts.map((attempt, place) =>
      el(
        "p",
        {},
        place + 1 + ". ",
        el("span", { class: "pill" + (attempt.kind ? " bad" : "") }, attempt.kind || "ok"),
        " " + time(attempt.us) + (attempt.wait_us ? ", then slept " + time(attempt.wait_us) : ""),
        attempt.message ? el("span", { class: "muted" }, " " + attempt.message) : null,
      ),
    );
  }
  function calls(run) {
    const rows = run.calls.map(([name, start, us, error]) =>
      el(
        "tr",
        {},
        el("td", {}, time(start)),
        el("td", { class: "wide" }, el("b", {}, name), error ? " " + error : null),
        el("td", {}, time(us)),
      ),
    );
    const rest = run.call_count - run.calls.length;
    return [
      el("div", { class: "scroll" }, el("table", {}, el("tbody", {}, ...rows))),
      rest > 0 ? el("p", { class: "muted" }, "and " + count(rest) + " more") : null,
    ];
  }
  function outputs(run) {
    return run.outputs.map((output) =>
      el(
        "figure",
        {},
        image(run, output),
        el(
          "figcaption",
          {},
          output.name,
          el("span", { class: "muted" }, " " + bytes(output.bytes)),
        ),
      ),
    );
  }
  function problem(error) {
    return el(
      "div",
      { class: "panel" },
      el("b", {}, error.kind),
      error.fault ? el("span", { class: "muted" }, " (" + error.fault + ")") : null,
      el("p", {}, error.message),
      error.hint ? el("p", { class: "muted" }, error.hint) : null,
    );
  }
  function describe(run) {
    const part = (title, ...nodes) => [el("h3", {}, title), ...nodes];
    const nodes = [
      el(
        "div",
        { class: "bar" },
        el("h2", {}, run.cell === undefined ? "Run " + run.index : "Cell " + run.cell),
        el("span", { class: "pill" + (run.error ? " bad" : "") }, status(run)),
        el("span", { class: "muted" }, time(run.us)),
      ),
    ];
    if (run.error) nodes.push(problem(run.error));
    for (const warning of run.warnings) nodes.push(el("div", { class: "panel warn" }, warning));
    if (run.spans.length) nodes.push(...part("Phases", waterfall(run)));
    if (run.meters.length) nodes.push(...part("Peaks and limits", ...run.meters.map(meterRow)));
    if (run.attempts && run.attempts.length > 1) nodes.push(...part("Attempts", ...attempts(run)));
    if (run.output !== undefined) nodes.push(...part("Answer", el("pre", {}, run.output)));
    if (run.outputs?.length) nodes.push(...part("Outputs", ...outputs(run)));
    if (run.calls?.length) nodes.push(...part("Calls", ...calls(run)));
    if (run.logs.length) nodes.push(...part("Log, its end", el("pre", {}, run.logs.join("\n"))));
    nodes.push(...part("What ran", facts(run)));
    if (run.enforced.length) {
      nodes.push(
        ...part("Enforced", ...run.enforced.map((word) => el("span", { class: "word" }, word))),
      );
    }
    byId("detail").replaceChildren(...nodes.filter((node) => node !== null));
  }
  function choose(run) {
    if (chosen?.row) chosen.row.classList.remove("chosen");
    chosen = run;
    if (run.row) run.row.classList.add("chosen");
    describe(run);
    drawTimeline();
  }
  function chooseBeside(step) {
    const place = Math.max(list.shown.indexOf(chosen) + step, 0);
    const run = list.shown[Math.min(place, Math.min(list.shown.length, list.most) - 1)];
    if (!run) return;
    choose(run);
    if (run.row) run.row.scrollIntoView({ block: "nearest" });
  }

  // Begin.

  summarize();
  legend();
  timelineInput();
  if (timed.length === 0) byId("timeline-card").hidden = true;
  if (timed.length <= 1) byId("zoom-tools").hidden = byId("timeline-hint").hidden = true;
  if (runs.length <= 1) document.querySelector(".columns").classList.add("single");
  filters();
  drawTable();
  if (runs.length) {
    choose(failed[0] || runs[0]);
  } else {
    document.querySelector(".columns").hidden = true;
  }
  byId("more").addEventListener("click", () => {
    list.most += 800;
    drawTable();
  });
  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const step = { ArrowDown: 1, j: 1, ArrowUp: -1, k: -1 }[event.key];
    if (!step || runs.length < 2) return;
    event.preventDefault();
    chooseBeside(step);
  });
  let waiting = 0;
  window.addEventListener("resize", () => {
    clearTimeout(waiting);
    waiting = setTimeout(() => {
      drawTimeline();
      if (chosen) describe(chosen);
    }, 80);
  });
  document.documentElement.dataset.ready = "true";
})();
