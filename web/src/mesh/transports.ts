/**
 * Which transport a connection tries first. A WebSocket that is refused fails at once, and the library goes on to polling by
 * itself. One that gets no answer, as at a proxy that swallows upgrades, is noticed by time alone, and would be tried again
 * for ever: then the other transport goes first. Whatever works stays.
 */
export interface Transports {
  /** The present one got no answer in time. */
  hung(): void;
  /** The present one failed, and nothing of HTTP has answered. */
  failed(): void;
  worked(): void;
}

/** What is used of a socket.io-client manager for this. */
export interface Manager {
  timeout(ms: number): unknown;
  readonly opts: { transports?: unknown[]; tryAllTransports?: boolean };
}

/**
 * How long a transport may take to open; the last holds from then on. Also what a connection costs that a proxy accepts and
 * drops before the handshake, as one does whose server is down. Longer later, for links that are only slow.
 */
export const openMs = [4_000, 4_000, 8_000] as const;

export const preferred = { transports: ["websocket", "polling"], tryAllTransports: true };

export function createTransports(manager: Manager): Transports {
  let hangs = 0;
  let pollingFirst = false;
  const patience = () => manager.timeout(openMs[Math.min(hangs, openMs.length - 1)] as number);

  function turn(): void {
    pollingFirst = !pollingFirst;
    manager.opts.transports?.reverse();
    // Polling goes over to a WebSocket by itself, and what HTTP answers would be lost with a second try.
    manager.opts.tryAllTransports = !pollingFirst;
  }

  return {
    hung() {
      hangs++;
      patience();
      turn();
    },
    failed() {
      if (pollingFirst) turn();
    },
    worked() {
      if (hangs === 0) return;
      hangs = 0;
      patience();
    },
  };
}
