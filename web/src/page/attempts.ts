import { newSecret } from "../mesh/secret.ts";

/**
 * The secret by which a join is known again whose answer was lost: it is kept until there is one, over another press and a
 * reload, so that nobody is in a meeting twice.
 */
const attemptKey = "signald.attempt";

interface Attempt {
  key: string;
  name: string;
  secret: string;
}

export function attemptAt(key: string, name: string): { secret: string; asked: boolean } {
  const before = stored();
  if (before?.key === key && before.name === name) return { secret: before.secret, asked: true };
  const secret = newSecret();
  try {
    sessionStorage.setItem(attemptKey, JSON.stringify({ key, name, secret }));
  } catch {
    // Private mode: a reload begins anew.
  }
  return { secret, asked: false };
}

/** There is an answer, whatever it is. */
export function attemptAnswered(): void {
  try {
    sessionStorage.removeItem(attemptKey);
  } catch {
    // Nothing was kept.
  }
}

function stored(): Attempt | null {
  try {
    const value = JSON.parse(sessionStorage.getItem(attemptKey) ?? "null") as Record<string, unknown> | null;
    const { key, name, secret } = value ?? {};
    return typeof key === "string" && typeof name === "string" && typeof secret === "string"
      ? { key, name, secret }
      : null;
  } catch {
    return null;
  }
}
