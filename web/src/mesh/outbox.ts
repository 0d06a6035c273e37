/**
 * Signals on their way to the other participants. What could not be sent waits, in order, until the
 * connection is back; what may or may not have arrived is sent again (receivers know repeats by `neg`).
 */
import { codeOf, SignalError } from "./errors.ts";
import type { SignalBody, SignalOut } from "./protocol.ts";

export interface Outbox {
  push(to: string, body: SignalBody): void;
  /** The connection is ready, send what waits. */
  flush(): void;
  /** `to` is gone, and with it what waits for it. */
  drop(to: string): void;
}

export interface OutboxOptions {
  ready(): boolean;
  send(message: SignalOut): Promise<void>;
  onError(error: unknown): void;
}

interface Entry {
  message: SignalOut;
  sent: boolean;
}

/** For one receiver. Far above what a negotiation needs; candidates alone could grow it without end. */
const maxWaiting = 256;
const retryMs = 500;
const passing = new Set(["rate_limited", "unavailable", "server_draining", "timeout", "disconnected"]);

export function createOutbox(options: OutboxOptions): Outbox {
  const boxes = new Map<string, Entry[]>();
  let retryTimer: ReturnType<typeof setTimeout> | undefined;

  function remove(entry: Entry): void {
    const box = boxes.get(entry.message.to);
    const at = box?.indexOf(entry) ?? -1;
    if (at >= 0) box?.splice(at, 1);
    if (box?.length === 0) boxes.delete(entry.message.to);
  }

  async function transmit(entry: Entry): Promise<void> {
    entry.sent = true;
    try {
      await options.send(entry.message);
      remove(entry);
    } catch (error) {
      const code = codeOf(error);
      if (passing.has(code)) {
        entry.sent = false;
        const wait = error instanceof SignalError ? error.retryAfterMs : undefined;
        if (options.ready() && retryTimer === undefined) retryTimer = setTimeout(retry, wait ?? retryMs);
        return;
      }
      remove(entry);
      // The roster says the same, a moment earlier or later.
      if (code !== "peer_gone") options.onError(error);
    }
  }

  function retry(): void {
    retryTimer = undefined;
    flush();
  }

  function flush(): void {
    if (!options.ready()) return;
    for (const box of [...boxes.values()]) {
      for (const entry of [...box]) if (!entry.sent) void transmit(entry);
    }
  }

  return {
    push(to, body) {
      // After a bye, nothing said before it matters.
      const box = body.kind === "bye" ? [] : (boxes.get(to) ?? []);
      boxes.set(to, box);
      const entry: Entry = { message: { ...body, to }, sent: false };
      box.push(entry);
      if (box.length > maxWaiting) box.shift();
      if (options.ready()) void transmit(entry);
    },
    flush,
    drop(to) {
      boxes.delete(to);
    },
  };
}
