/**
 * Files from one participant to another, over data channels of the connection that they have anyway. The
 * server carries the offer alone: it is the `meta` of a chat message, `{file: FileOffer}`.
 *
 * Whoever wants the file opens a channel whose label says what and from where, `file:<id>:<offset>`; whoever
 * offered it sends the bytes from there on, or a text if there is no such file any more. A transfer that breaks
 * off is asked for again from where it was.
 */
import { type Arrival, createArrival } from "./arrival.ts";
import { FileError } from "./errors.ts";
import { tell } from "./events.ts";
import { createSha256 } from "./sha256.ts";

export interface FileOffer {
  id: string;
  name: string;
  size: number;
  type: string;
  /** In hex. */
  sha256: string;
}

/** What is used of an RTCDataChannel. */
export type Channel = Pick<
  RTCDataChannel,
  | "label"
  | "readyState"
  | "binaryType"
  | "bufferedAmount"
  | "bufferedAmountLowThreshold"
  | "onopen"
  | "onclose"
  | "onmessage"
  | "onbufferedamountlow"
  | "send"
  | "close"
>;

export interface ShareOptions {
  onProgress?(done: number, total: number): void;
  signal?: AbortSignal;
}

export interface FetchOptions {
  onProgress?(done: number, total: number): void;
  /** The transfer has broken off; it goes on by itself. */
  onWaiting?(): void;
  /** What is there already, and where the rest goes. After a failure it may be given to another fetch. */
  arrival?: Arrival;
  signal?: AbortSignal;
}

/** How far somebody is who fetches a file from us. `open`: still at it. */
export interface Sending {
  peerId: string;
  id: string;
  done: number;
  total: number;
  open: boolean;
}

/** What a meeting's people may use. */
export interface Files {
  /** Reads the file once, for its checksum, and has it ready. The offer is for `chat.send(name, {meta: {file}})`. */
  share(file: Blob, name: string, options?: ShareOptions): Promise<FileOffer>;
  /** Whether a file is there to be fetched from us. */
  shares(id: string): boolean;
  /** Nobody gets it any more, not even to its end. */
  unshare(id: string): void;
  /** For as long as the other is in the meeting; rejects with a FileError. */
  fetch(peerId: string, offer: FileOffer, options?: FetchOptions): Promise<Blob>;
}

/** What the mesh tells it. */
export interface FileRoom extends Files {
  /** A channel that another participant has opened. True if it was one of ours. */
  accept(peerId: string, channel: Channel): boolean;
  close(): void;
}

export interface FilesOptions {
  /** A new channel to a participant; null while there is no connection to it. */
  open(peerId: string, label: string): Channel | null;
  /** Whether the participant is still in the meeting. */
  present(peerId: string): boolean;
  onSending?(sending: Sending): void;
}

export const fileTiming = {
  /** Between a channel that broke and the next. */
  retryMs: 1_000,
  /** So many channels in a row without a byte, and it is given up. */
  tries: 30,
  /** A channel that brings nothing for so long is broken. */
  silenceMs: 15_000,
} as const;

/** What every browser takes in one message. */
const chunk = 16 << 10;
const readAtOnce = 256 << 10;
const high = 1 << 20;
const low = 256 << 10;
/** What waits to be written, before the sender is held up. */
const mostWaiting = 8 << 20;
/** Each costs what waits in it. Who wants more at once waits for the others to end. */
const mostChannels = 16;

/** The offer in a chat message's meta, if there is one that makes sense. */
export function fileOf(meta: unknown): FileOffer | null {
  const file = (meta as { file?: unknown } | null | undefined)?.file as Partial<FileOffer> | undefined;
  const { id, name, size, type, sha256 } = file ?? {};
  const fine =
    typeof id === "string" &&
    /^[\w-]{1,64}$/.test(id) &&
    typeof name === "string" &&
    typeof size === "number" &&
    Number.isSafeInteger(size) &&
    size >= 0 &&
    typeof type === "string" &&
    typeof sha256 === "string" &&
    /^[0-9a-f]{64}$/.test(sha256);
  return fine ? { id, name, size, type, sha256 } : null;
}

export function createFiles(options: FilesOptions): FileRoom {
  const shared = new Map<string, Blob>();
  const sending = new Map<string, Set<Channel>>();

  /** Keeps a channel filled, but never by more than it should hold. */
  async function send(
    channel: Channel,
    id: string,
    file: Blob,
    offset: number,
    progress: (done: number) => void,
    drained: () => Promise<void>,
  ): Promise<void> {
    channel.bufferedAmountLowThreshold = low;
    const going = () => channel.readyState === "open" && shared.get(id) === file;
    for (let at = offset; at < file.size && going(); ) {
      const part = new Uint8Array(await file.slice(at, at + readAtOnce).arrayBuffer());
      for (let i = 0; i < part.length && going(); i += chunk) {
        if (channel.bufferedAmount > high) await drained();
        if (going()) channel.send(part.subarray(i, i + chunk));
      }
      at += part.length;
      progress(Math.max(offset, at - channel.bufferedAmount));
    }
    if (!going()) return withdraw(channel);
    channel.bufferedAmountLowThreshold = 0;
    if (channel.bufferedAmount > 0) await drained();
    if (going()) progress(file.size);
    // Whoever receives closes it, when everything is there.
  }

  function withdraw(channel: Channel): void {
    if (channel.readyState === "open") channel.send("withdrawn");
    channel.close();
  }

  /** Whether there is room for one more channel. */
  function enlist(peerId: string, channel: Channel): boolean {
    const channels = [...(sending.get(peerId) ?? [])].filter(({ readyState }) => readyState !== "closed");
    if (channels.length >= mostChannels) return false;
    sending.set(peerId, new Set([...channels, channel]));
    return true;
  }

  function serve(peerId: string, channel: Channel, id: string, file: Blob, from: number): void {
    let wake = () => {};
    let done = from;
    const report = (open: boolean) => options.onSending?.({ peerId, id, done, total: file.size, open });
    channel.onbufferedamountlow = () => wake();
    channel.onclose = () => {
      wake();
      report(false);
    };
    const progress = (now: number) => {
      done = now;
      report(true);
    };
    const drained = () =>
      new Promise<void>((resolve) => {
        wake = resolve;
      });
    send(channel, id, file, from, progress, drained).catch(() => {
      // It cannot be read any more: it was changed, or the medium is gone.
      shared.delete(id);
      withdraw(channel);
    });
  }

  /** One channel's worth: what comes goes into the arrival, in order, until it has all or the channel ends. */
  function receive(
    channel: Channel,
    take: (bytes: Uint8Array<ArrayBuffer>) => Promise<boolean>,
    signal?: AbortSignal,
  ) {
    return new Promise<void>((resolve, reject) => {
      let work = Promise.resolve();
      let waiting = 0;
      let over = false;
      let silence: ReturnType<typeof setTimeout> | undefined;
      const finish = (error?: unknown) => {
        if (over) return;
        over = true;
        clearTimeout(silence);
        signal?.removeEventListener("abort", aborted);
        channel.onmessage = channel.onclose = null;
        channel.close();
        // What has arrived counts, also of a channel that broke.
        void work.then(() => (error ? reject(error) : resolve()), reject);
      };
      const aborted = () => finish(new FileError("aborted"));
      const listen = () => {
        clearTimeout(silence);
        silence = setTimeout(() => finish(), fileTiming.silenceMs);
      };
      signal?.addEventListener("abort", aborted);
      channel.binaryType = "arraybuffer";
      channel.onmessage = ({ data }) => {
        listen();
        if (!(data instanceof ArrayBuffer)) {
          finish(new FileError("withdrawn"));
          return;
        }
        waiting += data.byteLength;
        work = work.then(async () => {
          if (await take(new Uint8Array(data))) finish();
          waiting -= data.byteLength;
        });
        work.catch(finish);
        // A channel cannot be told to wait. It is ended, and the rest asked for when this is written.
        if (waiting > mostWaiting) finish();
      };
      channel.onclose = () => finish();
      listen();
    });
  }

  return {
    async share(file, name, { onProgress, signal } = {}) {
      const sum = createSha256();
      for (let at = 0; at < file.size; at += readAtOnce) {
        if (signal?.aborted) throw new FileError("aborted");
        sum.update(new Uint8Array(await file.slice(at, at + readAtOnce).arrayBuffer()));
        tell(() => onProgress?.(Math.min(at + readAtOnce, file.size), file.size));
      }
      const id = crypto.randomUUID();
      shared.set(id, file);
      return { id, name, size: file.size, type: file.type, sha256: sum.digest() };
    },

    shares: (id) => shared.has(id),
    unshare: (id) => void shared.delete(id),

    async fetch(peerId, offer, { onProgress, onWaiting, arrival = createArrival(), signal } = {}) {
      const take = async (bytes: Uint8Array<ArrayBuffer>): Promise<boolean> => {
        if (arrival.done() + bytes.length > offer.size) throw new FileError("malformed");
        await arrival.take(bytes);
        tell(() => onProgress?.(arrival.done(), offer.size));
        return arrival.done() === offer.size;
      };
      for (let tries = 0; arrival.done() < offer.size; ) {
        if (signal?.aborted) throw new FileError("aborted");
        if (!options.present(peerId)) throw new FileError("gone");
        const before = arrival.done();
        const channel = options.open(peerId, `file:${offer.id}:${before}`);
        if (channel) {
          await receive(channel, take, signal);
          if (arrival.done() === offer.size) break;
          tries = arrival.done() > before ? 0 : tries + 1;
          if (tries >= fileTiming.tries) throw new FileError("broken");
        }
        tell(() => onWaiting?.());
        await new Promise((resolve) => setTimeout(resolve, fileTiming.retryMs));
      }
      return arrival.finish(offer.sha256, offer.type);
    },

    accept(peerId, channel) {
      const [, id = "", offset = ""] = /^file:([\w-]+):(\d+)$/.exec(channel.label) ?? [];
      if (id === "") return false;
      if (!enlist(peerId, channel)) {
        channel.close();
        return true;
      }
      const begin = () => {
        const file = shared.get(id);
        if (file && Number(offset) <= file.size) serve(peerId, channel, id, file, Number(offset));
        else withdraw(channel);
      };
      if (channel.readyState === "open") begin();
      else channel.onopen = begin;
      return true;
    },

    close: () => shared.clear(),
  };
}
