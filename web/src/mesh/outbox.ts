/**
 * Signals on their way to the other participants: to each in order, one after the other is answered, so that what has to be
 * sent again is not overtaken by what came later. Candidates that wait for that travel together: on a slow link a round trip
 * for each would be long. What could not be sent waits until the connection is back; what may or may
 * not have arrived is sent again (receivers know repeats by `neg`).
 */
import { maxBatch } from "./candidates.ts";
import { codeOf, retryAfterOf } from "./errors.ts";
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

interface Box {
  waiting: SignalOut[];
  sending: boolean;
  /** How often the first of them was refused. */
  tries: number;
  retry?: ReturnType<typeof setTimeout>;
}

/** For one receiver. Far above what a negotiation needs; candidates alone could grow it without end. */
const maxWaiting = 256;
const retryMs = 500;
/** A minute's worth, by when both sides have begun anew. */
const maxTries = 120;
const passing = new Set(["rate_limited", "unavailable", "server_draining", "timeout", "disconnected"]);

export function createOutbox(options: OutboxOptions): Outbox {
  const boxes = new Map<string, Box>();

  /** Answers whether to go on with the next. */
  async function transmit(box: Box, message: SignalOut): Promise<boolean> {
    try {
      await options.send(message);
    } catch (error) {
      const code = codeOf(error);
      if (code === "disconnected") return false; // flushed when the connection is back
      if (passing.has(code) && ++box.tries < maxTries) {
        const wait = retryAfterOf(error);
        box.retry = setTimeout(() => void drain(box), wait ?? retryMs);
        return false;
      }
      // The roster says the same, a moment earlier or later.
      if (code !== "peer_gone") options.onError(error);
    }
    box.tries = 0;
    box.waiting = box.waiting.filter((other) => other !== message);
    return true;
  }

  async function drain(box: Box): Promise<void> {
    if (box.sending) return;
    clearTimeout(box.retry);
    box.sending = true;
    for (let next = box.waiting[0]; next && options.ready(); next = box.waiting[0]) {
      if (!(await transmit(box, next))) break;
    }
    box.sending = false;
  }

  /** Adds candidates to those that wait behind the first, which may be on its way. Answers whether it could. */
  function merge(box: Box, body: SignalBody): boolean {
    const last = box.waiting.length > 1 ? box.waiting.at(-1) : undefined;
    if (body.kind !== "candidates" || last?.kind !== "candidates" || last.neg !== body.neg) return false;
    const list = [...last.list, ...body.list];
    if (list.length > maxBatch) return false;
    box.waiting.splice(-1, 1, { ...last, list, end: last.end || body.end });
    return true;
  }

  return {
    push(to, body) {
      const box: Box = boxes.get(to) ?? { waiting: [], sending: false, tries: 0 };
      boxes.set(to, box);
      // After a bye, nothing said before it matters.
      if (body.kind === "bye") box.waiting = [];
      if (!merge(box, body)) box.waiting.push({ ...body, to });
      if (box.waiting.length > maxWaiting) box.waiting.shift();
      if (box.tries === 0) void drain(box);
    },
    flush() {
      for (const box of boxes.values()) void drain(box);
    },
    drop(to) {
      const box = boxes.get(to);
      clearTimeout(box?.retry);
      if (box) box.waiting = [];
      boxes.delete(to);
    },
  };
}
