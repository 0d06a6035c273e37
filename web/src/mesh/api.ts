/** The few HTTP requests of the conference. `base` is the address that the page lives at, with a slash at its end. */
import { codeOf, localError, SignalError } from "./errors.ts";
import {
  type CreatedMeeting,
  type IceServer,
  type MeetingInfo,
  parseCreatedMeeting,
  parseErrorReply,
  parseIce,
  parseMeetingInfo,
} from "./protocol.ts";
import { newSecret } from "./secret.ts";

export interface Api {
  /** `retentionS`: the chat is kept for so many seconds after the last has left. */
  createMeeting(name: string, retentionS?: number): Promise<CreatedMeeting>;
  /** Refused with `meeting_not_found` if the key fits no meeting. */
  meeting(key: string): Promise<MeetingInfo>;
  ice(resumeToken: string): Promise<{ ice_servers: IceServer[]; ice_ttl_s: number }>;
  /** Who is, or was, in a meeting, as CSV; for its host. */
  attendees(key: string, hostKey: string): Promise<Blob>;
  /** Where a beacon reports that a participant has left. */
  readonly leaveUrl: string;
}

const requestTimeoutMs = 10_000;
/** Codes of answers that were lost: what was asked for may have been done. */
const lost = new Set(["unreachable", "intercepted"]);

export function createApi(base: string, request: typeof fetch = (...args) => fetch(...args)): Api {
  /** A creation whose answer was lost: the same asked for again, now or by another press, makes no second meeting. */
  let unanswered: { wanted: string; key: string } | undefined;

  async function ask(path: string, init?: RequestInit): Promise<Response> {
    try {
      return await request(new URL(path, base), {
        ...init,
        cache: "no-store",
        signal: AbortSignal.timeout(requestTimeoutMs),
      });
    } catch (cause) {
      throw localError("unreachable", "the server could not be reached", cause);
    }
  }

  async function call(path: string, init?: RequestInit): Promise<unknown> {
    const response = await ask(path, init);
    const body: unknown = await response.json().catch(() => undefined);
    if (!response.ok) throw refusal(response.status, body);
    if (body === undefined) throw localError("intercepted", "what answered is not the server");
    return body;
  }

  return {
    leaveUrl: new URL("api/v1/leave", base).href,

    async createMeeting(name, retentionS = 0) {
      const wanted = JSON.stringify({
        ...(name === "" ? {} : { name }),
        ...(retentionS > 0 ? { retention_s: retentionS } : {}),
      });
      if (unanswered?.wanted !== wanted) unanswered = { wanted, key: newSecret() };
      const post = {
        method: "POST",
        headers: { "Content-Type": "application/json", "Idempotency-Key": unanswered.key },
        body: wanted,
      };
      const body = await call("api/v1/meetings", post)
        .catch((error: unknown) => {
          if (codeOf(error) !== "unreachable") throw error;
          return call("api/v1/meetings", post);
        })
        .catch((error: unknown) => {
          if (!lost.has(codeOf(error))) unanswered = undefined;
          throw error;
        });
      unanswered = undefined;
      return checked(() => parseCreatedMeeting(body));
    },

    async meeting(key) {
      const body = await call(`api/v1/meetings/${encodeURIComponent(key)}`);
      return checked(() => parseMeetingInfo(body));
    },

    async attendees(key, hostKey) {
      const path = `api/v1/meetings/${encodeURIComponent(key)}/attendees?format=csv`;
      const response = await ask(path, { headers: { Authorization: `Bearer ${hostKey}` } });
      if (response.ok) return response.blob();
      throw refusal(response.status, await response.json().catch(() => undefined));
    },

    async ice(resumeToken) {
      const body = await call("api/v1/ice", { headers: { Authorization: `Bearer ${resumeToken}` } });
      return checked(() => parseIce(body));
    },
  };
}

function refusal(status: number, body: unknown): SignalError {
  try {
    return new SignalError(parseErrorReply(body));
  } catch {
    if (status === 511) return localError("intercepted", "the network asks to sign in");
    // A proxy's error page, for one. Only what is not ours at all is "not reachable".
    return localError("unreachable", `the server answered ${status}`);
  }
}

function checked<T>(parse: () => T): T {
  try {
    return parse();
  } catch (cause) {
    throw localError("malformed", cause instanceof Error ? cause.message : "unreadable answer", cause);
  }
}
