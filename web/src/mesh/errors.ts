import type { ErrorReply } from "./protocol.ts";

/**
 * Codes that this side makes; all others are the server's, as docs/PROTOCOL.md lists them.
 * `disconnected`: no connection, the request may or may not have arrived. `timeout`: no ack in time.
 * `unreachable`: HTTP did not get through. `intercepted`: a network has answered in the server's place, such as one where
 * one has to sign in first. `malformed`: the answer is not what the contract says.
 */
export type LocalCode = "disconnected" | "timeout" | "unreachable" | "intercepted" | "malformed";

/** A request was refused, or could not be made. Tell cases apart by `code`, never by the message. */
export class SignalError extends Error {
  readonly code: string;
  readonly field: string | undefined;
  readonly retryAfterMs: number | undefined;
  readonly ref: string | undefined;
  /** Of a join that has to wait in the lobby. */
  readonly ticket: string | undefined;

  constructor(reply: ErrorReply, options?: ErrorOptions) {
    super(reply.message === "" ? reply.code : `${reply.code}: ${reply.message}`, options);
    this.name = "SignalError";
    this.code = reply.code;
    this.field = reply.field;
    this.retryAfterMs = reply.retry_after_ms;
    this.ref = reply.ref;
    this.ticket = reply.ticket;
  }
}

export function localError(code: LocalCode, message: string, cause?: unknown): SignalError {
  return new SignalError({ code, message }, cause === undefined ? undefined : { cause });
}

/** After how many ms the server asks to be asked again, if it says so. */
export function retryAfterOf(error: unknown): number | undefined {
  return error instanceof SignalError ? error.retryAfterMs : undefined;
}

export function codeOf(error: unknown): string {
  return error instanceof SignalError ? error.code : "internal";
}

/**
 * Why a file did not arrive. `gone`: whoever offered it has left. `withdrawn`: they offer it no more. `broken`: no
 * channel brought anything. `checksum`, `malformed`: it was not what was offered. `unwritable`: there is no room here.
 */
export type FileFailure =
  | "gone"
  | "withdrawn"
  | "broken"
  | "checksum"
  | "malformed"
  | "unwritable"
  | "aborted";

export class FileError extends Error {
  constructor(
    readonly code: FileFailure,
    options?: ErrorOptions,
  ) {
    super(code, options);
    this.name = "FileError";
  }
}
