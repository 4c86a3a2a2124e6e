"use strict";
/* Takes files that are dropped, or chosen, and sends the form; its answer is a page of its own, in the frame.
 *
 * Without this script the form works too: choose files and press the button.
 */
(() => {
  const find = (id) => document.getElementById(id);
  const form = find("form"), frame = find("frame"), state = find("state");
  const button = form.querySelector("button[type=submit]");
  const input = {
    ...{ cloud: find("cloud"), depth: find("depth"), intrinsics: find("intrinsics"), mask: find("mask") },
    frame: find("frame_of"),
  };
  const SMALL = 4096; /* bytes that a file of one camera matrix has at most */
  const stacked = matchMedia("(max-width: 72rem)"); /* as in page.css */
  let waiting = false, unused = [];

  /* --------------------------------------------------------------------------------- what files are */

  const ends = (file, ...endings) => endings.some((end) => file.name.toLowerCase().endsWith(end));
  const isPicture = (file) => ends(file, ".png", ".tif", ".tiff", ".jpg", ".jpeg", ".bmp");
  const isArray = (file) => ends(file, ".npy", ".npz");

  async function isPose(file) { /* JSON with a matrix of four rows; a camera has three, or none */
    if (!ends(file, ".json") || file.size > SMALL) return false;
    try {
      const held = JSON.parse(await file.text()), rows = held.matrix ?? held;
      return Array.isArray(rows) && rows.length === 4 && rows.every((row) => row.length === 4);
    } catch { return false; }
  }

  async function likeMask(file) { /* 0: a depth image; higher: more like a mask */
    if (/mask|seg|label/i.test(file.name)) return 3;
    if (/depth/i.test(file.name) || ends(file, ".tif", ".tiff", ".npy", ".npz")) return 0;
    if (!ends(file, ".png")) return 1;
    const head = new Uint8Array(await file.slice(0, 26).arrayBuffer());
    if (head.length < 26 || head[24] === 16) return 0; /* bits of a channel */
    return head[25] === 2 || head[25] === 6 ? 1 : 2; /* in colours it may be the picture of the scene */
  }

  async function sorted(files) { /* what is dropped together, by the field that it is for */
    const kinds = { cloud: [], depth: [], intrinsics: [], mask: [], frame: [] };
    const begun = !input.depth.files.length && (input.intrinsics.files.length || input.mask.files.length);
    const ofImage = begun || files.some((file) => isPicture(file) || ends(file, ".json", ".yaml", ".yml"));
    const masks = [];
    for (const file of files) {
      const matrix = ofImage && file.size <= SMALL && (isArray(file) || ends(file, ".txt"));
      if (await isPose(file)) kinds.frame.push(file);
      else if (matrix || ends(file, ".json", ".yaml", ".yml")) kinds.intrinsics.push(file);
      else if (isPicture(file) || (ofImage && isArray(file))) {
        const rank = await likeMask(file);
        if (rank) masks.push({ rank, file });
        else kinds.depth.push(file);
      } else kinds.cloud.push(file);
    }
    kinds.mask = masks.sort((a, b) => b.rank - a.rank).map((one) => one.file);
    kinds.depth.sort((a, b) => /depth/i.test(b.name) - /depth/i.test(a.name));
    return kinds;
  }

  function put(name, files) {
    const held = new DataTransfer();
    for (const file of files.slice(0, 1)) held.items.add(file);
    input[name].files = held.files;
  }

  async function take(files) { /* what is dropped: a scan, or the files of a depth image */
    const kinds = await sorted(files), ofImage = ["depth", "intrinsics", "mask"];
    const scan = kinds.cloud.length && !(kinds.depth.length && kinds.intrinsics.length);
    const used = (scan ? ["cloud"] : ofImage).concat("frame");
    for (const name of scan ? ofImage : ["cloud"]) put(name, []);
    for (const name of used) if (kinds[name].length) put(name, kinds[name]);
    const taken = new Set(used.map((name) => input[name].files[0]?.name));
    unused = files.map((file) => file.name).filter((name) => !taken.has(name));
    show();
    if (!missing()) form.requestSubmit();
    else say(missing());
  }

  /* ------------------------------------------------------------------------------------ what is said */

  function show() { /* what is chosen */
    const names = Object.values(input).flatMap((one) => [...one.files].map((file) => file.name));
    find("chosen").textContent = names.join(", ");
  }

  function say(text, trouble = true) {
    const left = unused.length ? ` Not used: ${unused.join(", ")} (one scan or depth image at a time).` : "";
    state.textContent = text + left;
    state.classList.toggle("trouble", trouble || left !== "");
  }

  function missing() { /* what the form lacks, in a sentence; empty if it can be sent */
    if (input.cloud.files.length) return "";
    if (!input.depth.files.length) {
      return ["intrinsics", "mask", "frame"].some((name) => input[name].files.length)
        ? "Drop or choose a depth image or a scan, too." : "Drop or choose a scan first.";
    }
    const camera = input.intrinsics.files.length || find("numbers").value.trim();
    return camera ? "" : `A depth image needs the ${called("intrinsics")}, too.`;
  }

  function called(name) { /* what this page calls a field */
    return form.elements.namedItem(name) && form.querySelector(`[name="${name}"]`).closest("label")
      .querySelector("span, b").textContent.replace(/\s+/g, " ");
  }

  function worded(text) { /* a sentence about flags of the command, in the words of this page */
    return text.replace(/--(\w+)( auto\b| on\b| off\b)?/g, (flag, name, value = "") => {
      const label = name === "cloud" ? "scan" : called(name);
      if (!label) return flag;
      const chosen = form.querySelector(`[name="${name}"] option[value="${value.trim()}"]`);
      if (chosen) return `“${label}: ${chosen.textContent}”`;
      return `“${label}”${name === "table" && value === " auto" ? "" : value}`;
    });
  }

  /* ---------------------------------------------------------------------------------- what is answered */

  form.addEventListener("submit", (event) => {
    const lacking = missing();
    if (lacking) {
      event.preventDefault();
      say(lacking);
      return;
    }
    waiting = true;
    const file = input.cloud.files[0] || input.depth.files[0];
    say(`Looking at ${file.name} …`, false);
    setTimeout(() => { button.disabled = true; });
  });

  frame.addEventListener("load", () => {
    if (!waiting) return;
    waiting = false;
    button.disabled = false;
    find("hint").hidden = true;
    frame.hidden = false;
    const page = frame.contentDocument;
    const found = Boolean(page && page.getElementById("scenes"));
    say(found ? "Answered." : "No answer.", !found);
    if (!page) return;
    for (const text of page.querySelectorAll("main > p, .warning, .remark, li")) {
      text.textContent = worded(text.textContent);
    }
    acceptDrops(frame.contentWindow);
    fit();
    const side = page.querySelector("aside");
    if (side) new ResizeObserver(fit).observe(side);
    if (stacked.matches) frame.scrollIntoView({ block: "start" });
  });

  function fit() { /* stacked, the frame is as high as its page, so that only the window scrolls */
    const page = frame.contentDocument, last = page?.querySelector("aside") ?? page?.querySelector("main");
    if (!last) return;
    const narrow = frame.clientWidth <= 52 * 16; /* as in viewer.css; the frame may not know its width yet */
    const free = innerHeight - find("send").offsetHeight, style = page.documentElement.style;
    style.overflowY = stacked.matches && narrow ? "hidden" : "";
    style.setProperty("--stage", `${Math.round(0.5 * free)}px`);
    const end = Math.ceil(last.getBoundingClientRect().bottom + frame.contentWindow.scrollY);
    frame.style.height = stacked.matches ? `${narrow ? end : free}px` : "";
  }
  addEventListener("resize", fit);

  /* -------------------------------------------------------------------------------- what is dropped */

  input.cloud.addEventListener("change", () => { if (input.cloud.files.length) take([...input.cloud.files]); });
  for (const name of ["depth", "mask", "intrinsics"]) {
    input[name].addEventListener("change", () => { put("cloud", []); unused = []; show(); });
  }
  input.frame.addEventListener("change", show);
  let within = 0;
  const over = (more) => {
    within = Math.max(within + more, 0);
    document.body.classList.toggle("over", within > 0);
  };
  function acceptDrops(place) { /* a window; that of an answer gets its own events */
    place.addEventListener("dragenter", (event) => { event.preventDefault(); over(1); });
    place.addEventListener("dragleave", () => over(-1));
    place.addEventListener("dragover", (event) => event.preventDefault());
    place.addEventListener("drop", (event) => {
      event.preventDefault();
      over(-within);
      if (event.dataTransfer.files.length) take([...event.dataTransfer.files]);
    });
  }
  acceptDrops(window);
  show();
})();
