"use strict";
// Sends a new password with the token of the link that the page was opened with: of an invitation, or of a forgotten password.
// The token stands behind `#`, so it reaches the server only in the body of that request. Texts are only ever set as text.
(() => {
  const byId = (id) => document.getElementById(id);
  const tell = (text) => { byId("told").textContent = text; };
  const invited = location.pathname === "/accept-invitation";
  const path = invited ? "/v1/invitations/accept" : "/v1/password-reset/confirm";
  const WORDS = {
    invitation_unknown: "This link is not good (any more). Ask whoever invited you for a new one.",
    invitation_expired: "This invitation is over. Ask whoever invited you for a new one.",
    reset_token_unknown: "This link is not good any more. Ask for another mail.",
    email_taken: "Somebody signs in with this address already.",
    password_weak: "Choose another one: 12 to 256 characters, and not your name or address.",
    person_suspended: "Your access is suspended.",
    rate_limited: "Too many tries. Wait a moment.",
  };
  const token = location.hash.slice(1);
  history.replaceState(null, "", location.pathname); // out of the address bar, and of what is shared of it

  async function choose(event) {
    event.preventDefault();
    const password = byId("password").value;
    if (password !== byId("again").value) { tell("The two are not the same."); return; }
    const button = byId("choose").querySelector("button");
    button.disabled = true;
    tell("");
    try {
      const answer = await fetch(path, {
        method: "POST", headers: { "content-type": "application/json" }, body: JSON.stringify({ token, password }),
        cache: "no-store", referrerPolicy: "no-referrer", credentials: "omit",
      });
      if (answer.ok) {
        byId("choose").hidden = true;
        tell(invited ? "Welcome. From now on you sign in with this password." : "Done. Sign in with the new password; all your sessions have ended.");
        return;
      }
      const { code } = await answer.json().catch(() => ({}));
      tell(WORDS[code] || "That didn't work (" + code + "). Try again.");
    } catch {
      tell("The server wasn't reached. Try again.");
    }
    button.disabled = false;
  }

  if (!token) { tell("This link isn't whole. Open it as it stands in the mail."); return; }
  byId("choose").addEventListener("submit", choose);
  byId("choose").hidden = false;
})();
