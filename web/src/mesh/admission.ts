/** Joining a meeting that may have a lobby: asks, waits to be let in, and keeps the place over a lost connection. */
import { codeOf, localError, retryAfterOf, SignalError } from "./errors.ts";
import type { JoinAck, JoinRequest } from "./protocol.ts";
import type { Signaling } from "./signaling.ts";

/** Codes after which a place in the lobby is asked for again, once connected. */
const passing = new Set(["disconnected", "timeout", "unavailable", "server_draining", "rate_limited"]);
const retryMs = 1_000;

/** Rejects as `join` does, or with `denied`. `onWaiting` is told the place in the lobby, and each that replaces it. */
export async function enter(
  signaling: Signaling,
  request: JoinRequest,
  onWaiting: (ticket: string) => void,
): Promise<JoinAck> {
  let ticket: string | undefined;
  for (;;) {
    // Listening before asking: the decision may come together with the answer.
    const decision = decided(signaling, request.meeting_id);
    try {
      return await signaling.join({ ...request, ...(ticket === undefined ? {} : { ticket }) });
    } catch (error) {
      const code = codeOf(error);
      if (code === "waiting" && error instanceof SignalError && error.ticket !== undefined) {
        ticket = error.ticket;
        onWaiting(ticket);
        await decision.made;
      } else if (ticket !== undefined && passing.has(code)) {
        await Promise.race([decision.made, later(error)]);
      } else {
        throw error;
      }
    } finally {
      decision.forget();
    }
  }
}

/** Resolves when joining again makes sense: we are let in, or connected anew. */
function decided(signaling: Signaling, meetingId: string) {
  const stops: (() => void)[] = [];
  const made = new Promise<void>((resolve, reject) => {
    stops.push(
      signaling.on("admitted", ({ meeting_id }) => {
        if (meeting_id === meetingId) resolve();
      }),
      signaling.on("denied", ({ meeting_id }) => {
        if (meeting_id === meetingId) reject(new SignalError({ code: "denied", message: "" }));
      }),
      signaling.on("ready", () => resolve()),
      signaling.on("closed", ({ code }) => reject(new SignalError({ code, message: "" }))),
      signaling.on("lost", ({ final }) => {
        if (final) reject(localError("disconnected", "the wait was given up"));
      }),
    );
  });
  made.catch(() => {}); // perhaps nobody waits for it any more
  return { made, forget: () => stops.forEach((stop) => void stop()) };
}

function later(error: unknown): Promise<void> {
  const wait = retryAfterOf(error);
  return new Promise((resolve) => setTimeout(resolve, wait ?? retryMs));
}
