// Forms that ask for a passkey. The engine names a challenge, the browser answers it
// with the person's help, and the engine says where to go on.

function bytes(text) {
  const binary = atob(text.replaceAll("-", "+").replaceAll("_", "/"));
  return Uint8Array.from(binary, (c) => c.charCodeAt(0));
}

function text(buffer) {
  const binary = Array.from(new Uint8Array(buffer), (n) => String.fromCharCode(n)).join("");
  return btoa(binary).replaceAll("+", "-").replaceAll("/", "_").replace(/=+$/, "");
}

// What the engine writes as text is bytes for the browser.
function options({ publicKey }) {
  const known = (list) => list?.map((one) => ({ ...one, id: bytes(one.id) }));
  const made = { ...publicKey, challenge: bytes(publicKey.challenge) };
  if (made.user) made.user = { ...made.user, id: bytes(made.user.id) };
  if (made.excludeCredentials) made.excludeCredentials = known(made.excludeCredentials);
  if (made.allowCredentials) made.allowCredentials = known(made.allowCredentials);
  return { publicKey: made };
}

// And what the browser answers as bytes is text for the engine.
function answer(credential) {
  const { response } = credential;
  const written = { clientDataJSON: text(response.clientDataJSON) };
  if (response.attestationObject) {
    written.attestationObject = text(response.attestationObject);
    written.transports = response.getTransports?.() ?? [];
  } else {
    written.authenticatorData = text(response.authenticatorData);
    written.signature = text(response.signature);
    if (response.userHandle) written.userHandle = text(response.userHandle);
  }
  return {
    id: credential.id,
    rawId: text(credential.rawId),
    type: credential.type,
    authenticatorAttachment: credential.authenticatorAttachment ?? undefined,
    clientExtensionResults: credential.getClientExtensionResults(),
    response: written,
  };
}

async function post(path, body) {
  let reply;
  try {
    reply = await fetch(path, { method: "POST", headers: { "Content-Type": "application/json", Accept: "application/json" }, body: JSON.stringify(body) });
  } catch {
    throw new Error("The engine did not answer. Try again in a moment.");
  }
  const said = await reply.json().catch(() => ({}));
  if (!reply.ok) throw new Error([said.detail ?? `The engine refused this (status ${reply.status}).`, said.hint].filter(Boolean).join(" "));
  return said;
}

// Why the browser did not answer. On purpose it does not say more than this.
function reason(err) {
  switch (err.name) {
    case "NotAllowedError":
      return "No passkey was used: it was cancelled, took too long, or this machine has none for this console.";
    case "InvalidStateError":
      return "This authenticator holds a passkey of yours already.";
    case "SecurityError":
      return "The browser does not trust this page with passkeys: its address or its certificate is not good enough for it.";
  }
  return err.message;
}

async function run(form) {
  const { passkey: kind, path } = form.dataset;
  const field = (name) => form.elements.namedItem(name)?.value;
  if (!window.PublicKeyCredential) throw new Error("This browser has no passkeys, or does not allow them on this page.");
  const asked = await post(path + "/options", kind === "create" ? { password: field("password") ?? "" } : {});
  const credential = await navigator.credentials[kind](options(asked));
  const { next } = await post(path, { name: field("name") ?? "", next: field("next") ?? "", credential: answer(credential) });
  location.assign(next);
}

document.addEventListener("submit", async (event) => {
  const form = event.target.closest("form[data-passkey]");
  if (!form) return;
  event.preventDefault();
  const button = form.querySelector("button[type=submit]");
  const error = form.querySelector("[data-passkey-error]");
  if (button.disabled) return;
  button.disabled = true;
  error.textContent = "";
  try {
    await run(form);
  } catch (err) {
    error.textContent = reason(err);
    button.disabled = false;
    button.focus();
  }
});
