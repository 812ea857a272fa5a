// Runs the page's own script against a running service, with as much of a browser as it uses. Arguments: URL of the service, of the page
// (with its token), a file that is its local storage. Prints what a person would see, after accepting and after pressing each button.
import { readFileSync, writeFileSync, existsSync } from "node:fs";

const [service, link, storageFile] = process.argv.slice(2);
const html = await (await fetch(service + "/pass")).text();
const script = html.match(/<script>([\s\S]*?)<\/script>/)[1];

class Element {
  constructor(tag) { this.tag = tag; this.hidden = tag === "form"; this.textContent = ""; this.value = ""; this.disabled = false; this.children = []; this.listeners = {}; }
  addEventListener(name, listener) { this.listeners[name] = listener; }
  append(...children) { this.children.push(...children); }
  replaceChildren(...children) { this.children = children; }
}
const elements = { told: new Element("p"), accept: new Element("form"), name: new Element("input"), doors: new Element("ul") };
const stored = existsSync(storageFile) ? JSON.parse(readFileSync(storageFile)) : {};
const storage = (values) => ({ getItem: (name) => values[name] ?? null, setItem: (name, value) => { values[name] = value; }, removeItem: (name) => { delete values[name]; } });
const page = new URL(link);
const browser = {
  document: { getElementById: (id) => elements[id], createElement: (tag) => new Element(tag) },
  localStorage: storage(stored), sessionStorage: storage({}), location: page,
  history: { replaceState: (state, title, path) => { page.hash = ""; } },
  navigator: { locks: { request: (name, work) => work() } },
  fetch: (path, options) => fetch(service + path, options), crypto, btoa, encodeURIComponent, Uint8Array,
};
const settle = async (done) => { for (let turn = 0; turn < 400 && !done(); turn++) await new Promise((go) => setTimeout(go, 25)); };
const seen = {};

new Function(...Object.keys(browser), script)(...Object.values(browser));
await settle(() => elements.told.textContent !== "" && elements.told.textContent !== "One moment…" || elements.doors.children.length);
seen.first = elements.told.textContent;
if (!elements.accept.hidden) {
  elements.name.value = "  Ben <b>Guest</b> ";
  elements.accept.listeners.submit({ preventDefault() {} });
  await settle(() => elements.told.textContent !== "One moment…");
  seen.accepted = elements.told.textContent;
}
seen.hash = page.hash;
seen.doors = [];
for (const item of elements.doors.children) {
  const [button, line] = item.children;
  const before = line.textContent;
  button.listeners.click();
  await settle(() => !button.disabled);
  seen.doors.push([button.textContent, before, line.textContent]);
}
writeFileSync(storageFile, JSON.stringify(stored));
console.log(JSON.stringify(seen));
