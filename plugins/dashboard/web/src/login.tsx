// The login: by a link that has the token behind the #, which is never sent to a server, or by typing it.
import { useEffect, useState } from "preact/hooks";
import { ask, login, logIn, Refused, useShared } from "./api";

async function begin(): Promise<void> {
  const found = /[#&]token=([^&]+)/.exec(location.hash);
  if (found) {
    history.replaceState(null, "", location.pathname + location.search);
    try {
      await logIn(decodeURIComponent(found[1]!));
      return;
    } catch (error) {
      if (!(error instanceof Refused && error.status === 401)) throw error;
      login.value = { state: "out", reason: "The link's token is not this session's: the link is of another session." };
      return;
    }
  }
  await ask("/api/version");
  login.value = { state: "in", reason: "" };
}

export function useBegin(): string {
  const [trouble, setTrouble] = useState("");
  const now = useShared(login);
  useEffect(() => {
    if (now.state !== "unknown") return;
    begin().catch((error: Error) => {
      if (login.value.state === "unknown") setTrouble(error.message);
    });
  }, []);
  return trouble;
}

export function Login() {
  const { reason } = useShared(login);
  const [token, setToken] = useState("");
  const [wrong, setWrong] = useState("");
  const [busy, setBusy] = useState(false);
  const submit = async (event: Event) => {
    event.preventDefault();
    setBusy(true);
    setWrong("");
    try {
      await logIn(token.trim());
    } catch (error) {
      setWrong((error as Error).message);
    } finally {
      setBusy(false);
    }
  };
  return (
    <main class="login">
      <form onSubmit={submit}>
        <img src="/assets/icon.svg" alt="" width="48" height="48" />
        <h1>Shoal</h1>
        {reason && (
          <p class="note is-warn" role="status">
            {reason}
          </p>
        )}
        <p>
          Run <code>shoal dashboard</code> on the session's machine. It prints a link that logs in, and the token.
        </p>
        <label for="token">Token</label>
        <input
          id="token"
          type="password"
          autoComplete="off"
          spellcheck={false}
          autofocus
          required
          value={token}
          aria-invalid={wrong ? "true" : "false"}
          onInput={(event) => setToken(event.currentTarget.value)}
        />
        {wrong && (
          <p class="note is-bad" role="alert">
            {wrong}
          </p>
        )}
        <button type="submit" class="main" disabled={busy || !token.trim()}>
          Log in
        </button>
      </form>
    </main>
  );
}
