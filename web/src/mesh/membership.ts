/** Our membership of one meeting: joining it, and coming back after the connection was lost, as the same or anew. */
import { enter } from "./admission.ts";
import { codeOf, localError, retryAfterOf, SignalError } from "./errors.ts";
import type { JoinAck, JoinRequest } from "./protocol.ts";
import { newSecret } from "./secret.ts";
import type { Signaling } from "./signaling.ts";

export interface JoinOptions {
  meetingId: string;
  name: string;
  hostKey?: string;
  password?: string;
  /** A join token: who we are, by the word of the application that embeds us. */
  token?: string;
  /** For who lets people in. */
  memo?: string;
  admissionToken?: string;
  /** Of an earlier visit, see MeshView: what is kept of the chat for who we were then is ours to read. */
  pastToken?: string;
  /** Of a page that was here before this one: take its seat. `resume_expired` if that is gone. */
  resumeToken?: string;
  /**
   * A secret of 22 random characters or more that names this attempt to come in: with the same one nobody is there twice,
   * though the answer was lost. Left out: one is made. `asked`: a mesh before this one has asked by it.
   */
  attempt?: { secret: string; asked: boolean };
}

/** What lets an HTTP beacon say that we left. */
export interface Seat {
  peer_id: string;
  resume_token: string;
}

/** Likewise that we wait no longer. */
export interface Place {
  meeting_id: string;
  ticket: string;
}

export interface Membership {
  seat(): Seat | undefined;
  /** How long the seat is kept for who lost the connection. */
  graceMs(): number;
  /** In the lobby, while we wait there. */
  place(): Place | undefined;
  /** What we ask for when we come; undefined before that. */
  request(): JoinRequest | undefined;
  /** Waits for a connection, and in the lobby. Rejects if we are not let in. */
  join(options: JoinOptions, fingerprint: string): Promise<JoinAck>;
  /** An answer to a join. Returns whether we are who we were. */
  take(ack: JoinAck): boolean;
  /** Takes the seat again, if we are away. */
  comeBack(): Promise<void>;
  /** What we are called, should we have to join anew. */
  rename(name: string): void;
  stop(): void;
}

export interface MembershipOptions {
  signaling: Signaling;
  /** Out for the moment, though we did not leave. */
  away(): boolean;
  media(): JoinRequest["media"];
  onWaiting(): void;
  onBack(ack: JoinAck): void;
  /** Not taken back for now; it is tried again. */
  onRefused(code: string): void;
  /** Out for good. */
  onEnd(code: string): void;
}

/** The first join waits this long for a connection. */
const connectTimeoutMs = 15_000;
/** A refusal that will not pass by itself in that time is told at once. */
const hopeless = new Set(["forbidden"]);
/** How often a first join is asked again whose answer was lost. */
const maxAsks = 4;
/** Codes after which joining again may succeed without anyone doing anything. */
const passing = new Set([
  "rate_limited",
  "unavailable",
  "server_draining",
  "server_full",
  "too_many_from_ip",
  "internal",
  "timeout",
  "malformed",
]);

export function createMembership(options: MembershipOptions): Membership {
  const { signaling } = options;
  let request: JoinRequest | undefined;
  let seat: Seat | undefined;
  let graceMs = 0;
  let place: Place | undefined;
  let timer: ReturnType<typeof setTimeout> | undefined;
  let attempts = 0;
  let stopped = false;

  async function comeBack(): Promise<void> {
    clearTimeout(timer);
    if (!request || !options.away() || !signaling.ready()) return;
    try {
      const resume = seat ? { resume_token: seat.resume_token } : {};
      const ack = await signaling.join({ ...request, ...resume, media: options.media() });
      if (options.away()) options.onBack(ack);
    } catch (error) {
      refused(error);
    }
  }

  function refused(error: unknown): void {
    const code = codeOf(error);
    if (!options.away() || code === "disconnected") return; // the next `ready` tries again
    if (code === "resume_expired" || code === "token_expired" || code === "unauthorized") {
      // The meeting has gone on without us: join it again, as someone new.
      if (seat) {
        seat = undefined;
        signaling.holds(undefined);
        void comeBack();
      } else {
        options.onEnd(code);
      }
    } else if (passing.has(code)) {
      const wait = retryAfterOf(error);
      const backoff = Math.min(5_000, 500 * 2 ** Math.min(attempts++, 4));
      clearTimeout(timer);
      // All that are out were told the same, and should not ask at once.
      timer = setTimeout(() => void comeBack(), Math.max(wait ?? 0, backoff) * (1 + Math.random() / 2));
      options.onRefused(code);
    } else {
      options.onEnd(code);
    }
  }

  return {
    seat: () => seat,
    graceMs: () => graceMs,
    place: () => place,
    request: () => request,

    async join(
      { meetingId, name, hostKey, password, token, memo, admissionToken, pastToken, resumeToken, attempt },
      fingerprint,
    ) {
      await connected(signaling);
      request = {
        meeting_id: meetingId,
        user_id: name,
        name,
        ...(hostKey ? { host_key: hostKey } : {}),
        ...(password ? { password } : {}),
        ...(token ? { token } : {}),
        ...(memo ? { memo } : {}),
        ...(admissionToken ? { admission_token: admissionToken } : {}),
        ...(pastToken ? { past_token: pastToken } : {}),
        ...(fingerprint ? { fingerprint } : {}),
        attempt: attempt?.secret ?? newSecret(),
        media: options.media(),
      };
      const resume = {
        ...(resumeToken ? { resume_token: resumeToken } : {}),
        ...(resumeToken || attempt?.asked ? { fresh: true } : {}),
      };
      for (let asks = 1; ; asks++) {
        try {
          return await enter(signaling, { ...request, ...resume }, (ticket) => {
            place = { meeting_id: meetingId, ticket };
            options.onWaiting();
          });
        } catch (error) {
          // The answer was lost: by the attempt the server gives it again, and nobody is there twice.
          const code = codeOf(error);
          if (stopped || asks >= maxAsks || (code !== "disconnected" && code !== "timeout")) throw error;
          await connected(signaling);
        }
      }
    },

    take(ack) {
      const same = ack.resumed && ack.peer_id === seat?.peer_id;
      seat = { peer_id: ack.peer_id, resume_token: ack.resume_token };
      graceMs = ack.resume_ttl_ms;
      place = undefined;
      if (request && ack.admission_token) request = { ...request, admission_token: ack.admission_token };
      // Should the seat be lost, what was said meanwhile is not.
      if (request) request = { ...request, past_token: ack.resume_token, attempt: newSecret() };
      signaling.holds(ack.resume_token);
      attempts = 0;
      return same;
    },

    comeBack,

    rename(name) {
      if (request) request = { ...request, name };
    },

    stop() {
      stopped = true;
      clearTimeout(timer);
    },
  };
}

function connected(signaling: Signaling): Promise<void> {
  if (signaling.ready()) return Promise.resolve();
  return new Promise((resolve, reject) => {
    let refusal: string | undefined;
    const timer = setTimeout(giveUp, connectTimeoutMs);
    const stops = [
      signaling.on("ready", () => {
        forget();
        resolve();
      }),
      signaling.on("refused", ({ code }) => {
        refusal = code;
        if (hopeless.has(code)) giveUp();
      }),
      signaling.on("lost", ({ final }) => {
        if (final) giveUp();
      }),
    ];
    function forget(): void {
      clearTimeout(timer);
      for (const stop of stops) stop();
    }
    function giveUp(): void {
      forget();
      if (refusal === undefined || refusal === "unreachable")
        reject(localError("unreachable", "the server could not be reached"));
      else reject(new SignalError({ code: refusal, message: "the server refuses the connection" }));
    }
  });
}
