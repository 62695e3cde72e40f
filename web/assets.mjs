// Puts the front end's third-party files in web/static/vendor/, from the packages of package-lock.json. No bundler:
// htmx and the font are copied, the icons become one sprite, the world becomes one SVG. Run by `make setup`.
import { createHash } from "node:crypto";
import { copyFileSync, existsSync, mkdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { createRequire } from "node:module";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

const here = dirname(fileURLToPath(import.meta.url));
const packages = join(here, "..", "node_modules");
const vendor = join(here, "static", "vendor");
const stamp = join(vendor, "stamp");

const ICONS = [
  "adjustments", "alert-triangle", "arrow-back-up", "arrow-down", "arrow-up", "bell", "building", "calendar", "chart-bar",
  "check", "checks", "chevron-down", "chevron-left", "chevron-right", "circle-check", "clipboard-check", "clock", "copy",
  "corner-down-right", "device-desktop", "device-floppy", "device-laptop", "device-mobile", "eye", "file-text", "filter",
  "filter-plus", "help-circle", "history", "home", "inbox", "info-circle", "key", "language", "link", "list-check", "logout",
  "mail", "mail-opened", "map-pin", "message", "note", "pencil", "phone", "photo", "player-pause", "player-play",
  "player-stop", "plus", "printer", "refresh", "search", "send", "settings", "shield-lock", "tag", "template", "trash",
  "upload", "user", "user-check", "user-minus", "user-plus", "users", "world", "x",
];

const COPIES = {
  "htmx.org/dist/htmx.min.js": "htmx.min.js",
  "@fontsource-variable/inter/files/inter-latin-wght-normal.woff2": "inter-latin.woff2",
  "@fontsource-variable/inter/files/inter-latin-ext-wght-normal.woff2": "inter-latin-ext.woff2",
};

// As `equal_earth` in web/maps.py: a circle drawn by the server must fall on the city.
const SCALE = 180;
const CENTRE = [500, 250];

const wanted = createHash("sha256")
  .update(readFileSync(join(here, "..", "package-lock.json")))
  .update(readFileSync(fileURLToPath(import.meta.url)))
  .digest("hex");

function isUpToDate() {
  return existsSync(stamp) && readFileSync(stamp, "utf8") === wanted;
}

function sprite() {
  const symbols = ICONS.map((name) => {
    const svg = readFileSync(join(packages, "@tabler/icons/icons/outline", `${name}.svg`), "utf8").replace(/<!--[\s\S]*?-->/g, "");
    const shapes = svg.slice(svg.indexOf(">", svg.indexOf("<svg")) + 1, svg.lastIndexOf("</svg>")).replace(/\s*\n\s*/g, "");
    const pen = 'fill="none" stroke="currentColor" stroke-width="1.75" stroke-linecap="round" stroke-linejoin="round"';
    return `<symbol id="${name}" viewBox="0 0 24 24" ${pen}>${shapes}</symbol>`;
  });
  return `<svg xmlns="http://www.w3.org/2000/svg">${symbols.join("")}</svg>`;
}

async function world() {
  const { geoEqualEarth, geoPath } = await import("d3-geo");
  const { merge, mesh } = createRequire(import.meta.url)("topojson-client");
  const atlas = JSON.parse(readFileSync(join(packages, "world-atlas/countries-110m.json"), "utf8"));
  const { countries } = atlas.objects;
  countries.geometries = countries.geometries.filter((country) => country.properties.name !== "Antarctica");
  const draw = geoPath(geoEqualEarth().scale(SCALE).translate(CENTRE).precision(0.3));
  const short = (path) => path.replace(/-?\d+\.\d+/g, (number) => String(Number(Number(number).toFixed(1))));
  const land = short(draw(merge(atlas, countries.geometries)));
  const borders = short(draw(mesh(atlas, countries, (one, other) => one !== other)));
  // Colours are written here because a page's CSS does not reach into an external <use>.
  return (
    '<svg xmlns="http://www.w3.org/2000/svg"><symbol id="world" viewBox="0 0 1000 500">' +
    `<path d="${land}" fill="#dcd3e6"/>` +
    `<path d="${borders}" fill="none" stroke="#f7f4fa" stroke-width="0.7" vector-effect="non-scaling-stroke"/></symbol></svg>`
  );
}

if (!isUpToDate()) {
  rmSync(vendor, { recursive: true, force: true });
  mkdirSync(vendor, { recursive: true });
  for (const [from, to] of Object.entries(COPIES)) copyFileSync(join(packages, from), join(vendor, to));
  writeFileSync(join(vendor, "icons.svg"), sprite());
  writeFileSync(join(vendor, "world.svg"), await world());
  writeFileSync(stamp, wanted);
}
