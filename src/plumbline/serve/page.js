"use strict";
/* Takes files that are dropped, or chosen, and sends the form; its answer is a page of its own, in the frame.
 *
 * Without this script the form works too: choose files and press the button.
 */
(() => {
  const find = (id) => document.getElementById(id);
  const form = find("form"), frame = find("frame"), hint = find("hint"), state = find("state");
  const button = form.querySelector("button[type=submit]"), chosen = find("chosen");
  const input = Object.fromEntries(["cloud", "depth", "intrinsics", "mask"].map((name) => [name, find(name)]));
  const ends = (file, ...endings) => endings.some((end) => file.name.toLowerCase().endsWith(end));
  const isCamera = (file) => ends(file, ".json", ".yaml", ".yml");
  const isPicture = (file) => ends(file, ".png", ".tif", ".tiff", ".jpg", ".jpeg", ".bmp");
  let waiting = false;

  function put(name, files) {
    const held = new DataTransfer();
    for (const file of files) held.items.add(file);
    input[name].files = held.files;
  }

  function show() { /* what is chosen */
    chosen.textContent = input.cloud.files.length ? input.cloud.files[0].name : "";
    find("image").open = ["depth", "mask", "intrinsics"].some((name) => input[name].files.length);
  }

  async function isMask(file) { /* depths have 16 bits or more */
    if (/mask|seg|label/i.test(file.name) || ends(file, ".jpg", ".jpeg", ".bmp")) return true;
    if (!ends(file, ".png")) return false;
    const head = new Uint8Array(await file.slice(0, 25).arrayBuffer());
    return head.length === 25 && head[24] < 16;
  }

  async function take(files) { /* what is dropped: a scan, or the files of a depth image */
    const cameras = files.filter(isCamera); /* next to one, arrays are images */
    const begun = cameras.length || (input.intrinsics.files.length && !input.depth.files.length);
    const images = files.filter((file) => isPicture(file) || (begun && ends(file, ".npy", ".npz")));
    const masked = await Promise.all(images.map(isMask));
    const masks = images.filter((_, i) => masked[i]), depths = images.filter((_, i) => !masked[i]);
    const scans = files.filter((file) => !cameras.includes(file) && !images.includes(file));
    if (scans.length) {
      for (const name of ["depth", "intrinsics", "mask"]) put(name, []);
      put("cloud", scans.slice(0, 1));
    } else {
      put("cloud", []);
      if (depths.length) put("depth", depths.slice(0, 1));
      if (masks.length) put("mask", masks.slice(0, 1));
      if (cameras.length) put("intrinsics", cameras.slice(0, 1));
    }
    show();
    sendIfComplete();
  }

  function sendIfComplete() {
    const image = input.depth.files.length && (input.intrinsics.files.length || find("numbers").value.trim());
    if (input.cloud.files.length || image) form.requestSubmit();
    else state.textContent = "A depth image needs the intrinsics of its camera, too.";
  }

  form.addEventListener("submit", () => {
    waiting = true;
    const file = input.cloud.files[0] || input.depth.files[0];
    state.textContent = file ? `Looking at ${file.name} …` : "";
    setTimeout(() => { button.disabled = true; });
  });
  frame.addEventListener("load", () => {
    if (!waiting) return;
    button.disabled = false;
    hint.hidden = true;
    frame.hidden = false;
    frame.scrollIntoView({ block: "nearest" });
    const page = frame.contentDocument;
    state.textContent = page && page.getElementById("scenes") ? "Answered." : "No answer.";
    waiting = false;
    if (page) acceptDrops(frame.contentWindow);
  });
  input.cloud.addEventListener("change", () => { if (input.cloud.files.length) take([...input.cloud.files]); });
  for (const name of ["depth", "mask", "intrinsics"]) {
    input[name].addEventListener("change", () => { put("cloud", []); show(); });
  }
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
