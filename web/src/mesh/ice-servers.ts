/** The STUN and TURN servers of a meeting. Their credentials run out, so they are asked for again before. */
import type { Api } from "./api.ts";
import type { IceServer } from "./protocol.ts";

export interface IceServers {
  list(): IceServer[];
  set(servers: IceServer[], ttlSeconds: number): void;
  stop(): void;
}

export interface IceServersOptions {
  api: Pick<Api, "ice">;
  /** What proves that we are in the meeting; undefined while we are not. */
  resumeToken(): string | undefined;
  onChange(): void;
  onError(error: unknown): void;
}

const retryMs = 30_000;

export function createIceServers(options: IceServersOptions): IceServers {
  let servers: IceServer[] = [];
  let timer: ReturnType<typeof setTimeout> | undefined;
  let stopped = false;

  function set(next: IceServer[], ttlSeconds: number): void {
    servers = next;
    options.onChange();
    clearTimeout(timer);
    // A little before the credentials run out.
    if (ttlSeconds > 0) timer = setTimeout(() => void renew(), ttlSeconds * 800);
  }

  async function renew(): Promise<void> {
    const token = options.resumeToken();
    if (token === undefined || stopped) return;
    try {
      const { ice_servers, ice_ttl_s } = await options.api.ice(token);
      if (!stopped) set(ice_servers, ice_ttl_s);
    } catch (error) {
      if (stopped) return;
      options.onError(error);
      timer = setTimeout(() => void renew(), retryMs);
    }
  }

  return {
    list: () => servers,
    set,
    stop() {
      stopped = true;
      clearTimeout(timer);
    },
  };
}
