"use strict";
// The receiver's side of a pass: accepts the link that the page was opened with, keeps the guest signed in on this device, opens doors.
// The token stands behind `#`, so it reaches the server only in the body of the request that accepts it. Texts are only ever set as text.
(() => {
  const KEPT = "nexkey.guest"; // the refresh token: good once, replaced at every use
  const byId = (id) => document.getElementById(id);
  const tell = (text) => { byId("told").textContent = text; };
  let access = null;

  const WORDS = {
    pass_accepted: "This link was used already. Ask whoever sent it for a new one.",
    pass_revoked: "This key was taken back.",
    pass_expired: "This key is over.",
    pass_unknown: "This link is not good (any more). Ask for a new one.",
    pass_used_up: "This key is used up.",
    no_grant: "This key doesn't open this door any more.",
    not_yet_valid: "Not yet: this key's time begins later.",
    expired: "This key is over.",
    outside_schedule: "Not at this time of day.",
    holiday: "Not on this day.",
    door_locked_down: "This door is locked down.",
    area_locked_down: "This door is locked down.",
    site_locked_down: "This door is locked down.",
    rate_limited: "Too many tries. Wait a moment.",
    second_person_needed: "A second person is needed: they ask within the next moments.",
    pin_needed: "This door asks for a PIN, which this page can't take.",
    person_suspended: "Your access is suspended.",
  };
  const word = (code) => WORDS[code] || "That didn't work (" + code + ").";

  async function call(method, path, body, headers) {
    const sent = { method, headers: { ...headers }, cache: "no-store", referrerPolicy: "no-referrer", credentials: "omit" };
    if (body !== undefined) { sent.headers["content-type"] = "application/json"; sent.body = JSON.stringify(body); }
    const answer = await fetch(path, sent);
    const told = await answer.json().catch(() => ({}));
    return { status: answer.status, told };
  }

  function keep(told) {
    access = told.access_token;
    localStorage.setItem(KEPT, told.refresh_token);
  }

  // One tab at a time: a refresh token that comes twice is taken for stolen.
  function refresh() {
    return navigator.locks.request(KEPT, async () => {
      const known = localStorage.getItem(KEPT);
      if (!known) return false;
      const { status, told } = await call("POST", "/v1/refresh", { refresh_token: known });
      if (status === 200) { keep(told); return true; }
      if (status === 401) localStorage.removeItem(KEPT);
      return false;
    });
  }

  async function asGuest(method, path, headers, body) {
    const ask = () => call(method, path, body, { ...headers, authorization: "Bearer " + access });
    if (access === null && !(await refresh())) return { status: 401, told: { code: "token_missing" } };
    const first = await ask();
    return first.status === 401 && (await refresh()) ? ask() : first;
  }

  async function unlock(door, button, line) {
    button.disabled = true;
    line.textContent = "Asking the door…";
    try {
      // One key for one press: should the answer be lost and the browser send it again, the door isn't opened twice.
      const headers = { prefer: "wait=5", "idempotency-key": randomText() };
      const { told } = await asGuest("POST", "/v1/doors/" + encodeURIComponent(door) + "/unlock", headers);
      if (told.state === "unlocked") line.textContent = "Open.";
      else if (told.state === "commanded" || told.state === "unconfirmed") line.textContent = "Asked; the door hasn't answered.";
      else if (told.state === "unlocked.failed") line.textContent = "The door didn't open (" + told.reason + ").";
      else line.textContent = word(told.code);
    } catch { line.textContent = "No connection."; }
    button.disabled = false;
  }

  async function showDoors() {
    const { status, told } = await asGuest("GET", "/v1/me/doors");
    if (status !== 200) { tell(status === 401 ? "Open the link that you were sent." : word(told.code)); return; }
    byId("accept").hidden = true;
    tell(told.items.length ? "" : "You hold no key at the moment.");
    byId("doors").replaceChildren(...told.items.map((door) => {
      const item = document.createElement("li"), button = document.createElement("button"), line = document.createElement("small");
      button.textContent = "Open " + door.name;
      line.textContent = door.allowed ? "" : word(door.reason);
      button.addEventListener("click", () => unlock(door.id, button, line));
      item.append(button, line);
      return item;
    }));
  }

  function randomText() {
    return btoa(String.fromCharCode(...crypto.getRandomValues(new Uint8Array(24)))).replaceAll("+", "-").replaceAll("/", "_");
  }

  // Remembered until the answer is here: asked again with the same key, a lost answer is told again.
  function keyOf(token) {
    const name = "nexkey.accept." + token;
    if (!sessionStorage.getItem(name)) sessionStorage.setItem(name, randomText());
    return sessionStorage.getItem(name);
  }

  async function accept(token, name) {
    tell("One moment…");
    const key = { "idempotency-key": keyOf(token) };
    // Who is a guest already stays the same one. A link of another organization is unknown to them there: then a new one.
    const mine = localStorage.getItem(KEPT) ? await asGuest("POST", "/v1/me/passes", key, { token }) : null;
    if (mine === null || mine.status === 401 || mine.told.code === "pass_unknown") {
      const { status, told } = await call("POST", "/v1/passes/accept", name ? { token, name } : { token }, key);
      if (status !== 200) { tell(word(told.code)); return; }
      keep(told);
    } else if (mine.status !== 200) { tell(word(mine.told.code)); return; }
    sessionStorage.removeItem("nexkey.accept." + token);
    history.replaceState(null, "", location.pathname); // the token has done its work
    await showDoors();
  }

  async function start() {
    const token = location.hash.slice(1);
    if (!token) { tell("One moment…"); await showDoors(); return; }
    tell("Somebody gives you a key. Accept it, and open the door from this page.");
    byId("accept").hidden = false;
    byId("accept").addEventListener("submit", (event) => {
      event.preventDefault();
      accept(token, byId("name").value.trim()).catch(() => tell("No connection. Try again."));
    });
  }

  start().catch(() => tell("No connection. Load this page again."));
})();
