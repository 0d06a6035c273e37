/** Why a connection did not come about, by what has answered in place of a greeting. */

export interface Refusal {
  /**
   * The server's code; `forbidden` by whatever stands before it; `intercepted` if a network answers in its place; or
   * `unreachable` for any other answer that is none of its own.
   */
  code: string;
  retryAfterMs: number | undefined;
  /** Somebody has decided so: asking again at once only makes it worse. */
  deliberate: boolean;
}

/** Whoever asks for more is asked again after this. */
const longestWaitMs = 60_000;

/** Null if nothing has answered. */
export function refusalOf(error: unknown): Refusal | null {
  const { data, code, description, context } = error as {
    data?: unknown;
    code?: unknown;
    description?: unknown;
    context?: { responseText?: unknown; getResponseHeader?(name: string): string | null };
  };
  const said = data ?? parsed(context?.responseText);
  if (typeof said === "object" && said !== null && "code" in said && typeof said.code === "string") {
    const wait = "retry_after_ms" in said ? said.retry_after_ms : undefined;
    const retryAfterMs = typeof wait === "number" && wait >= 0 ? Math.min(wait, longestWaitMs) : undefined;
    return { code: said.code, retryAfterMs, deliberate: true };
  }
  // With 200 it is not our server that answers: the sign-in page of a hotel, for one.
  if (code === "parser error" || description === 511) {
    return { code: "intercepted", retryAfterMs: undefined, deliberate: false };
  }
  if (typeof description !== "number" || description < 400) return null;
  const header = Number(context?.getResponseHeader?.("Retry-After") ?? Number.NaN);
  const retryAfterMs = header >= 0 ? Math.min(header * 1_000, longestWaitMs) : undefined;
  return description === 403
    ? { code: "forbidden", retryAfterMs, deliberate: true }
    : { code: "unreachable", retryAfterMs, deliberate: false };
}

function parsed(text: unknown): unknown {
  try {
    return typeof text === "string" ? JSON.parse(text) : undefined;
  } catch {
    return undefined;
  }
}
