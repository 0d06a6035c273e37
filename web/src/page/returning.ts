/** Taking back the seat of the page that was here before, though the server cannot give it just now. */
import { codeOf, retryAfterOf } from "../mesh/errors.ts";

/** After these the same attempt may succeed without anyone doing anything. */
const passing = new Set([
  "unavailable",
  "server_draining",
  "rate_limited",
  "server_full",
  "too_many_from_ip",
  "internal",
  "timeout",
  "disconnected",
  "unreachable",
  "malformed",
]);
const retryMs = 1_000;

interface Patience {
  /** The seat is kept until then, in ms since 1970. */
  until: number;
  /** Whether anybody still waits for it. */
  wanted(): boolean;
  /** It did not work, and is tried again. */
  trouble(): void;
}

/** Rejects with the last refusal when trying on makes no sense. */
export async function persist<T>(attempt: () => Promise<T>, patience: Patience): Promise<T> {
  for (;;) {
    try {
      return await attempt();
    } catch (error) {
      const waitMs = retryAfterOf(error) ?? retryMs;
      const late = Date.now() + waitMs > patience.until;
      if (late || !passing.has(codeOf(error)) || !patience.wanted()) throw error;
      patience.trouble();
      await new Promise((resolve) => setTimeout(resolve, waitMs));
      if (!patience.wanted()) throw error;
    }
  }
}
