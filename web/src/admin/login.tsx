import { useState } from "preact/hooks";
import { codeOf } from "../mesh/errors.ts";
import { useHeadingFocus } from "../page/hooks.ts";
import { Problem } from "./parts.tsx";
import { texts } from "./texts.ts";

/** `error` is why one has to log in, if there is a reason to tell. */
export function Login({ error, login }: { error: string; login(token: string): Promise<void> }) {
  const t = texts();
  const heading = useHeadingFocus();
  const [token, setToken] = useState("");
  const [problem, setProblem] = useState(error);
  const [busy, setBusy] = useState(false);

  async function submit(): Promise<void> {
    setBusy(true);
    setProblem("");
    try {
      await login(token);
    } catch (failure) {
      setProblem(codeOf(failure));
      setBusy(false);
    }
  }

  return (
    <form
      class="card login"
      onSubmit={(event) => {
        event.preventDefault();
        if (!busy) void submit();
      }}
    >
      <h1 ref={heading} tabIndex={-1}>
        {t.admin}
      </h1>
      <p class="hint">{t.loginHint}</p>
      <label class="field">
        <span>{t.token}</span>
        <input
          type="password"
          value={token}
          required
          autoComplete="current-password"
          aria-invalid={problem !== ""}
          data-testid="token"
          onInput={(event) => setToken(event.currentTarget.value)}
        />
      </label>
      <Problem code={problem} />
      <button type="submit" class="primary" aria-busy={busy} data-testid="login">
        {busy ? t.loggingIn : t.login}
      </button>
    </form>
  );
}
