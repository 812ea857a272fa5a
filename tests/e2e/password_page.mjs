// What a person sees who opens the link of a mail and chooses a password. The script is the page's own; the browser around it is the least
// that it needs. Arguments: the api's URL, the link, the password, and the password once more. Prints JSON.
const [api, link, password, again] = process.argv.slice(2);
const opened = new URL(link);
const answer = await fetch(api + opened.pathname);
const html = await answer.text();
const script = /<script>([\s\S]*?)<\/script>/.exec(html)[1];

const button = { disabled: false };
const elements = {};
let submit = null;
const byId = (id) => (elements[id] ??= {
  textContent: "", hidden: true, value: "",
  addEventListener: (_, listener) => { submit = listener; },
  querySelector: () => button,
});
const location = { pathname: opened.pathname, hash: opened.hash };
const history = { replaceState: (_state, _title, url) => { location.hash = new URL(url, api).hash; } };
const fromPage = (path, options) => fetch(api + path, options);

new Function("document", "location", "history", "fetch", script)({ getElementById: byId }, location, history, fromPage);
const before = { hidden: byId("choose").hidden, told: byId("told").textContent };
if (submit) {
  byId("password").value = password;
  byId("again").value = again;
  await submit({ preventDefault() {} });
}
console.log(JSON.stringify({ before, hash: location.hash, told: byId("told").textContent, hidden: byId("choose").hidden, stuck: button.disabled }));
