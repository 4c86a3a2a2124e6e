"use strict";
/* Draws a scene and lets it be turned.
 *
 * Points and the ellipsoid are rendered into an image with a depth for each pixel; lines and labels are drawn
 * on top of it. No WebGL: the picture is the same on every machine, also on one without a graphics card.
 *
 * Camera frame: x right, y up, z towards the viewer; the middle of the scene is at its origin, moved by
 * `pan`, and the viewer at z = distance. A pixel is x right, y down, in units of the style sheet.
 */
(() => {
  const scenes = JSON.parse(document.getElementById("scenes").textContent);
  const find = (selector) => [...document.querySelectorAll(selector)];
  const canvas = document.getElementById("view"), stage = document.getElementById("stage");
  const tip = document.getElementById("tip"), picture = canvas.getContext("2d");
  const layer = document.createElement("canvas"), raster = layer.getContext("2d");
  const FIELD = 26 * Math.PI / 180; /* angle of view across the shorter side */
  const MARGIN = 44; /* pixels free around what is in sight at first */
  const MANY_SENSORS = 4; /* more have no labels of their own */
  const FAR_SENSOR = 20; /* sensors farther away than this many radii are arrows only */
  const MOST_PIXELS = 4e6;
  const PACE = 25; /* milliseconds for a frame while something moves, at the cost of pixels */
  const FONT = "12px " + getComputedStyle(document.body).fontFamily;

  const shown = { kept: true, left_out: true, com: true, body: true, inertia: true, sensors: true };
  let scene, points, rotation, distance, pan, colours, depths, owners, image, quality, frame = 0, settle = 0;
  let effort = 1; /* pixels per unit of the style sheet while something moves */
  let untouched = ""; /* the view that was asked for last, until something else is done */

  /* ---------------------------------------------------------------------------------------- vectors */

  const dot = (a, b) => a[0] * b[0] + a[1] * b[1] + a[2] * b[2];
  const scaled = (a, s) => [a[0] * s, a[1] * s, a[2] * s];
  const plus = (a, b) => [a[0] + b[0], a[1] + b[1], a[2] + b[2]];
  const minus = (a, b) => [a[0] - b[0], a[1] - b[1], a[2] - b[2]];
  const cross = (a, b) => [a[1] * b[2] - a[2] * b[1], a[2] * b[0] - a[0] * b[2], a[0] * b[1] - a[1] * b[0]];
  const size = (a) => Math.sqrt(dot(a, a));
  const unit = (a) => scaled(a, 1 / (size(a) || 1));
  const turned = (a) => rotation.map((row) => dot(row, a));
  const placed = (a) => plus(turned(minus(a, scene.middle)), [pan[0], pan[1], 0]);

  /* ------------------------------------------------------------------------------------------ data */

  function unpack(packed) { /* positions relative to the middle, three numbers for each point */
    const bytes = Uint8Array.from(atob(packed.data), (letter) => letter.charCodeAt(0));
    const steps = new DataView(bytes.buffer), found = new Float32Array(bytes.length / 2);
    for (let i = 0; i < found.length; i++) {
      const axis = i % 3;
      found[i] = packed.low[axis] - scene.middle[axis] + packed.step[axis] * steps.getUint16(2 * i, true);
    }
    return found;
  }

  function choose(number) {
    scene = scenes[number];
    points = { kept: unpack(scene.kept), left_out: unpack(scene.left_out) };
    find("section.scan").forEach((section, i) => { section.hidden = i !== number; });
    const there = {
      ...{ kept: true, com: true, left_out: points.left_out.length, sensors: scene.sensors.length },
      ...{ body: scene.body, inertia: scene.inertia },
    };
    find("[data-layer]").forEach((label) => { label.hidden = !there[label.dataset.layer]; });
    look("first");
  }

  function readColours() {
    const style = getComputedStyle(document.documentElement), probe = document.createElement("canvas")
      .getContext("2d", { willReadFrequently: true });
    colours = {};
    for (const name of ["paper", "ink", "muted", "kept", "left_out", "com", "body", "inertia", "sensors"]) {
      probe.fillStyle = style.getPropertyValue("--" + name).trim();
      probe.fillRect(0, 0, 1, 1);
      colours[name] = [...probe.getImageData(0, 0, 1, 1).data].slice(0, 3);
    }
  }
  const css = (name, alpha = 1) => `rgba(${colours[name].join(",")},${alpha})`;

  /* ---------------------------------------------------------------------------------------- camera */

  let sides = [1, 1]; /* of the picture; asking for them takes a layout of the page */
  const measure = () => { sides = [stage.clientWidth, stage.clientHeight].map((side) => Math.max(side, 1)); };
  const width = () => sides[0], height = () => sides[1];
  const focal = () => Math.min(width(), height()) / 2 / Math.tan(FIELD / 2);
  const start = () => scene.reach / Math.sin(FIELD / 2);

  function project(a) { /* from the camera frame to pixels, and the depth */
    const depth = distance - a[2], inverse = focal() / depth;
    return [width() / 2 + a[0] * inverse, height() / 2 - a[1] * inverse, depth];
  }

  function look(from) {
    const [x, y, z] = [[1, 0, 0], [0, 1, 0], [0, 0, 1]];
    const axes = { x: [y, z, x], y: [scaled(x, -1), z, y], z: [x, y, z] };
    if (from === "in" || from === "out") return zoom(from === "in" ? 0.8 : 1.25);
    rotation = (axes[from] || (from === "lens" ? scene.lens : scene.view)).map((row) => row.slice());
    pan = [0, 0];
    measure();
    distance = fitting();
    redraw();
    untouched = from;
    return undefined;
  }

  function fitting() { /* the nearest distance from which all that matters is in sight */
    const [x, y] = [width(), height()].map((side) => focal() / Math.max(side / 2 - MARGIN, side / 4));
    let far = 0;
    const include = (a, b, c) => {
      const [right, up, back] = rotation.map((row) => row[0] * a + row[1] * b + row[2] * c);
      far = Math.max(far, back + Math.abs(right) * x, back + Math.abs(up) * y);
    };
    for (const list of [points.kept, points.left_out]) {
      for (let i = 0; i < list.length; i += 3) {
        const [a, b, c] = [list[i], list[i + 1], list[i + 2]];
        if (Math.hypot(a, b, c) <= 1.0001 * scene.reach) include(a, b, c);
      }
    }
    const com = minus(scene.com, scene.middle);
    for (const axis of scene.body || []) [plus(com, axis), minus(com, axis)].forEach((a) => include(...a));
    if (scene.sensors.length <= MANY_SENSORS) scene.sensors.forEach((place) => include(...sight(place)[0]));
    return far;
  }

  function turn(right, down) { /* about the axes of the screen, in radians; rows stay orthonormal */
    const [x, y, z] = rotation;
    const back = unit(plus(plus(z, scaled(x, -Math.sin(right))), scaled(y, Math.sin(down))));
    const across = unit(cross(y, back));
    rotation = [across, cross(back, across), back];
    redraw();
  }

  function zoom(factor) {
    distance = Math.min(Math.max(distance * factor, 0.05 * start()), 40 * start());
    redraw();
  }

  function move(right, down) { /* in pixels */
    const step = distance / focal();
    pan = [pan[0] + right * step, pan[1] - down * step];
    redraw();
  }

  /* ---------------------------------------------------------------------------------------- pixels */

  const discs = new Map(); /* by diameter in pixels, the rows of a disc: down, first and last to the right */
  function disc(across) {
    if (!discs.has(across)) {
      const rows = [], middle = (across - 1) / 2;
      for (let y = 0; y < across; y++) {
        const half = Math.sqrt(Math.max(across * across / 4 - (y - middle) ** 2, 0));
        rows.push(Math.round(y - middle - 0.25), Math.ceil(-half - 0.25), Math.floor(half - 0.25));
      }
      discs.set(across, Int32Array.from(rows));
    }
    return discs.get(across);
  }

  function scatter(kind, code, columns, lines) {
    const list = points[kind], [[a, b, c], [d, e, f], [g, h, k]] = rotation;
    const scale = focal() * quality, near = 0.02 * distance;
    const dotSize = 1.2 * scene.radius / Math.sqrt(Math.max(points.kept.length / 3, 1));
    const least = 1.3 * quality, most = 7 * quality;
    for (let i = 0; i < list.length; i += 3) {
      const x = list[i], y = list[i + 1], z = list[i + 2];
      const depth = distance - (g * x + h * y + k * z);
      if (depth < near) continue;
      const inverse = scale / depth;
      const column = Math.round(columns / 2 + (a * x + b * y + c * z + pan[0]) * inverse - 0.5);
      const line = Math.round(lines / 2 - (d * x + e * y + f * z + pan[1]) * inverse - 0.5);
      const rows = disc(Math.round(Math.min(Math.max(dotSize * inverse, least), most)));
      for (let row = 0; row < rows.length; row += 3) {
        const there = line + rows[row];
        if (there < 0 || there >= lines) continue;
        const begin = there * columns, end = begin + Math.min(column + rows[row + 2], columns - 1);
        for (let at = begin + Math.max(column + rows[row + 1], 0); at <= end; at++) {
          if (depth < depths[at]) { depths[at] = depth; owners[at] = code + i / 3; }
        }
      }
    }
  }

  function shade(pixels, columns, lines) { /* near pixels stand out; edges in depth are dark */
    const step = Math.max(1, Math.round(1.3 * quality)), strength = 30 / scene.radius;
    const strays = points.kept.length / 3;
    const rise = (gap) => gap > 0 ? Math.min(strength * gap, 0.6) : 0;
    const [front, room] = [distance - scene.reach, 2 * scene.reach];
    for (let line = 0; line < lines; line++) {
      for (let column = 0, at = line * columns; column < columns; column++, at++) {
        if (owners[at] < 0) continue;
        const depth = depths[at];
        let behind = 0;
        if (column >= step) behind += rise(depth - depths[at - step]);
        if (column + step < columns) behind += rise(depth - depths[at + step]);
        if (line >= step) behind += rise(depth - depths[at - step * columns]);
        if (line + step < lines) behind += rise(depth - depths[at + step * columns]);
        const light = 0.3 + 0.7 * Math.exp(-behind);
        const mist = 0.5 * Math.min(Math.max((depth - front) / room, 0), 1);
        const colour = owners[at] < strays ? colours.kept : colours.left_out;
        for (let channel = 0; channel < 3; channel++) {
          const plain = colour[channel];
          pixels[4 * at + channel] = light * (plain + mist * (colours.paper[channel] - plain));
        }
        pixels[4 * at + 3] = 255;
      }
    }
  }

  function glaze(pixels, columns, lines) { /* the ellipsoid: a ray for each pixel, denser where it grazes */
    const centre = placed(scene.com), axes = scene.body.map(turned);
    const rows = axes.map((axis) => scaled(axis, 1 / dot(axis, axis))); /* to where it is a unit ball */
    const from = minus([0, 0, distance], centre), eye = rows.map((row) => dot(row, from));
    const outside = dot(eye, eye) - 1, nearest = from[2] - Math.max(...axes.map(size));
    if (outside <= 0 || nearest <= 0) return;
    const scale = focal() * quality;
    const wide = (axis) => Math.sqrt(axes.reduce((sum, one) => sum + one[axis] ** 2, 0));
    const reach = [0, 1].map((axis) => wide(axis) * scale / nearest + 2);
    const middle = [columns / 2 + centre[0] * scale / from[2], lines / 2 - centre[1] * scale / from[2]];
    const slack = 1 + size(centre) / distance;
    const range = (axis, end) => [
      Math.max(0, Math.floor(middle[axis] - slack * reach[axis])),
      Math.min(end - 1, Math.ceil(middle[axis] + slack * reach[axis])),
    ];
    const [left, right] = range(0, columns), [top, bottom] = range(1, lines);
    for (let line = top; line <= bottom; line++) {
      for (let column = left; column <= right; column++) {
        const x = (column + 0.5 - columns / 2) / scale, y = (lines / 2 - line - 0.5) / scale;
        const ray = rows.map((row) => row[0] * x + row[1] * y - row[2]);
        const along = dot(ray, ray), half = dot(eye, ray), inside = half * half - along * outside;
        if (inside < 0) continue;
        const at = line * columns + column, depth = (-half - Math.sqrt(inside)) / along;
        const chord = Math.sqrt(inside / along) , edge = 1 - Math.min(chord, 1);
        let alpha = 0.2 + 0.5 * edge * edge * edge;
        if (depths[at] < depth) alpha *= 0.5;
        const under = pixels[4 * at + 3] / 255, both = alpha + under * (1 - alpha);
        for (let channel = 0; channel < 3; channel++) {
          const below = pixels[4 * at + channel];
          pixels[4 * at + channel] = (alpha * colours.body[channel] + under * (1 - alpha) * below) / both;
        }
        pixels[4 * at + 3] = 255 * both;
      }
    }
  }

  function render() {
    const [columns, lines] = [width(), height()].map((side) => Math.max(1, Math.round(side * quality)));
    if (layer.width !== columns || layer.height !== lines || !depths) {
      [layer.width, layer.height] = [columns, lines];
      depths = new Float32Array(columns * lines);
      owners = new Int32Array(columns * lines);
      image = raster.createImageData(columns, lines);
    }
    depths.fill(Infinity);
    owners.fill(-1);
    image.data.fill(0);
    if (shown.kept) scatter("kept", 0, columns, lines);
    if (shown.left_out) scatter("left_out", points.kept.length / 3, columns, lines);
    shade(image.data, columns, lines);
    if (shown.body && scene.body) glaze(image.data, columns, lines);
    raster.putImageData(image, 0, 0);
  }

  /* ----------------------------------------------------------------------------- lines and labels */

  function hides(x, y, depth) {
    const column = Math.floor(x * quality), line = Math.floor(y * quality);
    if (column < 0 || line < 0 || column >= layer.width || line >= layer.height) return false;
    return depths[line * layer.width + column] < depth - 0.01 * scene.radius;
  }

  function curve(list, name, thickness, strength = 1) { /* in the camera frame; faint where hidden */
    const paths = { front: new Path2D(), hidden: new Path2D() };
    for (let i = 1; i < list.length; i++) {
      const a = project(list[i - 1]), b = project(list[i]);
      if (a[2] <= 0 || b[2] <= 0) continue;
      const path = hides(...scaled(plus(a, b), 0.5)) ? paths.hidden : paths.front;
      path.moveTo(a[0], a[1]);
      path.lineTo(b[0], b[1]);
    }
    picture.lineWidth = thickness;
    for (const [path, alpha] of [[paths.hidden, 0.35], [paths.front, 1]]) {
      picture.strokeStyle = css(name, alpha * strength);
      picture.stroke(path);
    }
  }

  const between = (a, b, steps) =>
    Array.from({ length: steps + 1 }, (_, i) => plus(a, scaled(minus(b, a), i / steps)));

  function label(text, x, y, taken) { /* within the picture; left out if it would cover another one */
    const wide = picture.measureText(text).width, tall = 14;
    const left = Math.min(Math.max(x, 6), width() - wide - 6);
    const top = Math.min(Math.max(y - tall / 2, 4), height() - tall - 4);
    if (taken.some(([l, t, r, b]) => left < r && left + wide > l && top < b && top + tall > t)) return;
    taken.push([left - 3, top - 2, left + wide + 3, top + tall + 2]);
    picture.lineWidth = 3.5;
    picture.strokeStyle = css("paper", 0.85);
    picture.strokeText(text, left, top + tall / 2);
    picture.fillStyle = css("ink");
    picture.fillText(text, left, top + tall / 2);
  }

  function annotate() {
    const taken = [], com = placed(scene.com);
    picture.font = FONT;
    picture.textBaseline = "middle";
    picture.lineCap = picture.lineJoin = "round";
    corner(taken);
    ruler(taken, com);
    if (shown.body && scene.body) {
      const axes = scene.body.map(turned);
      for (const [i, j] of [[0, 1], [1, 2], [2, 0]]) {
        const ring = Array.from({ length: 97 }, (_, n) => {
          const angle = n * Math.PI / 48;
          return plus(com, plus(scaled(axes[i], Math.cos(angle)), scaled(axes[j], Math.sin(angle))));
        });
        curve(ring, "body", 1, 0.75);
      }
    }
    if (shown.inertia && scene.inertia) {
      for (const axis of scene.inertia.map(turned)) {
        curve(between(minus(com, axis), plus(com, axis), 60), "inertia", 1.8);
      }
    }
    if (shown.sensors) scene.sensors.forEach((place, i) => sensor(place, i, taken));
    if (shown.com) {
      const [x, y, depth] = project(com);
      if (depth > 0) {
        for (const [radius, name] of [[7, "paper"], [5, "com"]]) {
          picture.beginPath();
          picture.arc(x, y, radius, 0, 2 * Math.PI);
          picture.fillStyle = css(name);
          picture.fill();
        }
      }
    }
  }

  const lengthText = (value) => value.toFixed(scene.digits) + (scene.unit ? " " + scene.unit : "");

  function sight(place) { /* from where to where the arrow of a sensor goes, relative to the middle */
    const line = minus(place, scene.middle);
    return [1.28, 1.04].map((far) => scaled(unit(line), Math.min(far * scene.radius, size(line))));
  }

  function sensor(place, number, taken) { /* a pyramid where it stands, an arrow along its line of sight */
    const away = size(minus(place, scene.middle)), direction = unit(minus(place, scene.middle));
    const many = scene.sensors.length > MANY_SENSORS;
    if (!away) return;
    if (away < FAR_SENSOR * scene.radius) {
      const aside = unit(cross(direction, Math.abs(direction[2]) < 0.9 ? [0, 0, 1] : [1, 0, 0]));
      const [x, y] = [aside, cross(direction, aside)].map((a) => scaled(turned(a), 0.05 * scene.radius));
      const apex = placed(place);
      const base = plus(apex, scaled(turned(direction), -0.1 * scene.radius));
      const corners = [plus(x, y), minus(y, x), minus(scaled(x, -1), y), minus(x, y)]
        .map((a) => plus(base, a));
      curve([...corners, corners[0]], "sensors", 1.6);
      for (const one of corners) curve([apex, one], "sensors", 1.6);
    }
    const [tail, head] = sight(place).map((a) => project(placed(plus(scene.middle, a))));
    if (tail[2] <= 0 || head[2] <= 0) return;
    const flat = [head[0] - tail[0], head[1] - tail[1]], long = Math.hypot(...flat);
    picture.strokeStyle = picture.fillStyle = css("sensors");
    picture.lineWidth = many ? 1.3 : 2;
    if (long > 4) {
      const tipLength = Math.min(many ? 6 : 9, long), [u, v] = flat.map((a) => a / long * tipLength);
      picture.beginPath();
      picture.moveTo(tail[0], tail[1]);
      picture.lineTo(head[0] - u, head[1] - v);
      picture.stroke();
      picture.beginPath();
      picture.moveTo(head[0], head[1]);
      picture.lineTo(head[0] - u - v / 2, head[1] - v + u / 2);
      picture.lineTo(head[0] - u + v / 2, head[1] - v - u / 2);
      picture.fill();
    }
    if (many) return;
    const text = `sensor${scene.sensors.length > 1 ? " " + (number + 1) : ""}, ${lengthText(away)} away`;
    const beyond = head[1] > tail[1] ? -13 : 13; /* the tail, on the side where the arrow is not */
    label(text, tail[0] - picture.measureText(text).width / 2, tail[1] + beyond, taken);
  }

  function corner(taken) { /* the directions of the axes of the frame */
    const [x, y, long] = [52, height() - 52, 30];
    taken.push([x - long - 14, y - long - 14, x + long + 14, y + long + 14]);
    const arms = ["x", "y", "z"].map((name, axis) => [name, rotation.map((row) => row[axis])]);
    for (const [name, arm] of arms.sort((a, b) => a[1][2] - b[1][2])) {
      const away = Math.hypot(arm[0], arm[1]), text = [x + long * arm[0], y - long * arm[1]];
      picture.strokeStyle = picture.fillStyle = css("ink", 0.75 + 0.25 * arm[2]);
      picture.lineWidth = 1.6;
      picture.beginPath();
      picture.moveTo(x, y);
      picture.lineTo(...text);
      picture.stroke();
      const [u, v] = away > 0.15 ? [arm[0] / away, -arm[1] / away] : [0.7, -0.7];
      picture.textAlign = "center";
      picture.fillText(name, text[0] + 9 * u, text[1] + 9 * v);
      picture.textAlign = "left";
    }
  }

  function ruler(taken, com) { /* a round length at the depth of the centre of mass */
    const depth = distance - com[2];
    if (depth <= 0) return;
    const pixels = focal() / depth, most = Math.min(140, width() / 3) / pixels;
    const power = 10 ** Math.floor(Math.log10(most));
    const long = [5, 2, 1].find((digit) => digit * power <= most) * power;
    const text = String(Number(long.toPrecision(1))) + " " + (scene.unit || "(unit of the file)");
    const right = width() - 24, left = right - long * pixels, y = height() - 26;
    picture.strokeStyle = css("ink");
    picture.lineWidth = 1.4;
    picture.beginPath();
    picture.moveTo(left, y - 4);
    picture.lineTo(left, y + 4);
    picture.moveTo(left, y);
    picture.lineTo(right, y);
    picture.moveTo(right, y - 4);
    picture.lineTo(right, y + 4);
    picture.stroke();
    const wide = picture.measureText(text).width;
    label(text, Math.min((left + right - wide) / 2, right - wide), y - 14, taken);
    taken.push([left, y - 6, right, y + 6]);
  }

  /* --------------------------------------------------------------------------------------- drawing */

  function draw(fine) {
    measure();
    const dense = window.devicePixelRatio || 1, area = width() * height();
    const begin = performance.now();
    quality = Math.min(fine ? Math.max(2, dense) : effort, Math.sqrt(MOST_PIXELS / area));
    if (canvas.width !== Math.round(width() * dense)) canvas.width = Math.round(width() * dense);
    if (canvas.height !== Math.round(height() * dense)) canvas.height = Math.round(height() * dense);
    render();
    picture.setTransform(dense, 0, 0, dense, 0, 0);
    picture.clearRect(0, 0, width(), height());
    picture.imageSmoothingQuality = fine ? "high" : "low";
    picture.drawImage(layer, 0, 0, width(), height());
    annotate();
    if (!fine) effort = Math.min(Math.max(effort * (PACE / (performance.now() - begin)) ** 0.4, 0.5), 1);
  }

  function redraw() { /* soon, and once more with smooth edges when nothing moves */
    tip.hidden = true;
    untouched = "";
    clearTimeout(settle);
    if (!frame) {
      frame = requestAnimationFrame(() => {
        frame = 0;
        draw(false);
        clearTimeout(settle);
        settle = setTimeout(() => draw(true), 120);
      });
    }
  }

  /* --------------------------------------------------------------------------------------- control */

  function ownerNear(x, y) { /* the point that is drawn at a pixel, or next to it */
    const steps = [[0, 0], [2, 0], [-2, 0], [0, 2], [0, -2], [3, 3], [-3, 3], [3, -3], [-3, -3]];
    for (const [right, down] of steps) {
      const column = Math.floor((x + right) * quality), line = Math.floor((y + down) * quality);
      if (column < 0 || line < 0 || column >= layer.width || line >= layer.height) continue;
      const owner = owners[line * layer.width + column];
      if (owner >= 0) return owner;
    }
    return -1;
  }

  function point(x, y) { /* say what is at a pixel */
    const [cx, cy] = project(placed(scene.com)), onCentre = shown.com && Math.hypot(x - cx, y - cy) < 9;
    const owner = onCentre ? -1 : ownerNear(x, y);
    tip.hidden = !onCentre && owner < 0;
    if (tip.hidden) return;
    const number = points.kept.length / 3, list = owner < number ? points.kept : points.left_out;
    const first = 3 * (owner < number ? owner : owner - number);
    const place = onCentre ? scene.com : plus(scene.middle, [list[first], list[first + 1], list[first + 2]]);
    const name = onCentre ? "centre of mass" : owner < number ? "point of the object" : "left out as stray";
    const away = onCentre ? "" : `\n${lengthText(size(minus(place, scene.com)))} from the centre of mass`;
    tip.textContent = `${name}\n${place.map((value) => value.toFixed(scene.digits)).join("  ")}${away}`;
    const left = x + 16 + tip.offsetWidth > width() ? x - 12 - tip.offsetWidth : x + 16;
    const top = y + 16 + tip.offsetHeight > height() ? y - 12 - tip.offsetHeight : y + 16;
    [tip.style.left, tip.style.top] = [Math.max(left, 4) + "px", Math.max(top, 4) + "px"];
  }

  const fingers = new Map();
  canvas.addEventListener("pointerdown", (event) => {
    canvas.setPointerCapture(event.pointerId);
    fingers.set(event.pointerId, [event.clientX, event.clientY]);
  });
  canvas.addEventListener("pointermove", (event) => {
    const before = fingers.get(event.pointerId), now = [event.clientX, event.clientY];
    if (!before) return point(event.offsetX, event.offsetY);
    const right = now[0] - before[0], down = now[1] - before[1];
    if (fingers.size > 1) {
      const [other] = [...fingers].filter(([id]) => id !== event.pointerId).map(([, place]) => place);
      const gap = (place) => Math.max(Math.hypot(place[0] - other[0], place[1] - other[1]), 1);
      zoom(gap(before) / gap(now));
      move(right / 2, down / 2);
    } else if (event.shiftKey || event.buttons & 6) {
      move(right, down);
    } else {
      turn(right * 0.008, down * 0.008);
    }
    fingers.set(event.pointerId, now);
    return undefined;
  });
  for (const end of ["pointerup", "pointercancel"]) {
    canvas.addEventListener(end, (event) => fingers.delete(event.pointerId));
  }
  canvas.addEventListener("pointerleave", () => { tip.hidden = true; });
  canvas.addEventListener("contextmenu", (event) => event.preventDefault());
  canvas.addEventListener("wheel", (event) => {
    event.preventDefault();
    zoom(Math.exp((event.deltaMode ? 30 : 1) * Math.max(-200, Math.min(200, event.deltaY)) * 0.0012));
  }, { passive: false });
  canvas.addEventListener("keydown", (event) => {
    const arrows = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };
    const others = { "+": "in", "=": "in", "-": "out", "0": "first", Home: "first" };
    const arrow = arrows[event.key];
    if (event.ctrlKey || event.metaKey || event.altKey || !(arrow || others[event.key])) return;
    event.preventDefault();
    if (!arrow) look(others[event.key]);
    else if (event.shiftKey) move(24 * arrow[0], 24 * arrow[1]);
    else turn(0.09 * arrow[0], 0.09 * arrow[1]);
  });
  find("[data-look]").forEach((button) => button.addEventListener("click", () => look(button.dataset.look)));
  find("[data-layer] input").forEach((box) => box.addEventListener("change", () => {
    shown[box.parentElement.dataset.layer] = box.checked;
    draw(true);
  }));
  const choice = document.getElementById("choice");
  if (choice) choice.addEventListener("change", () => choose(choice.selectedIndex));
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => { readColours(); draw(true); });
  new ResizeObserver(() => untouched ? look(untouched) : redraw()).observe(stage);
  readColours();
  choose(0);
})();
