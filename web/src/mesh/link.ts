/**
 * What two mesh clients tell each other straight, beside media: at present, what each shows of the other.
 * Over a data channel of the pair's own, so the server neither carries nor sees it. Clients without it
 * are taken to show everything.
 */
import { everything, type Wish } from "./budget.ts";

/** Both sides know this channel by its number: nobody has to announce it. */
export const channel = { label: "mesh", init: { negotiated: true, id: 0 } } as const;

export interface Link {
  /** What the other side shows of us. */
  wish(): Wish;
  /** Tells the other side what we show of it, now or when the channel opens. */
  tell(wish: Wish): void;
}

export type Channel = Pick<RTCDataChannel, "readyState" | "send" | "onopen" | "onmessage">;

export function createLink(channel: Channel, onChange: () => void): Link {
  let theirs = everything;
  let ours: Wish | undefined;

  function send(): void {
    if (ours && channel.readyState === "open") channel.send(JSON.stringify({ show: ours }));
  }

  channel.onopen = send;
  channel.onmessage = ({ data }: { data: unknown }) => {
    const wish = parse(data);
    if (!wish) return;
    theirs = wish;
    onChange();
  };

  return {
    wish: () => theirs,
    tell(wish) {
      ours = wish;
      send();
    },
  };
}

/** Later clients may say more, or something else. */
function parse(data: unknown): Wish | null {
  if (typeof data !== "string" || data.length > 1_000) return null;
  try {
    const { camera, screen } = (JSON.parse(data) as { show: Record<string, unknown> }).show;
    if (typeof camera !== "number" || !(camera >= 0) || typeof screen !== "boolean") return null;
    return { camera, screen };
  } catch {
    return null;
  }
}
