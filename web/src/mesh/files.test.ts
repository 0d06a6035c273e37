import { createHash } from "node:crypto";
import { afterEach, beforeEach, expect, test, vi } from "vitest";
import { createArrival } from "./arrival.ts";
import { type Channel, createFiles, type FileOffer, fileOf, fileTiming, type Sending } from "./files.ts";
import { createSha256 } from "./sha256.ts";

beforeEach(() => void vi.useFakeTimers());
afterEach(() => void vi.useRealTimers());

const hash = (bytes: Uint8Array) => createHash("sha256").update(bytes).digest("hex");
const noise = (size: number) => Uint8Array.from({ length: size }, (_, i) => (i * 7919) >>> (i % 5));

test("the checksum is SHA-256, however the bytes come", () => {
  for (const size of [0, 1, 55, 56, 63, 64, 65, 119, 1000, 70_000]) {
    const bytes = noise(size);
    for (const step of [1, 7, 64, 1000]) {
      if (size > 2000 && step < 64) continue;
      const sum = createSha256();
      for (let at = 0; at < size; at += step) sum.update(bytes.subarray(at, at + step));
      expect(sum.digest()).toBe(hash(bytes));
    }
  }
});

/** Two ends of a channel. Each delivers what it has been given when the test lets it, and may break. */
function pair(label: string) {
  const make = () => ({
    label,
    readyState: "open" as RTCDataChannelState,
    binaryType: "blob",
    bufferedAmount: 0,
    bufferedAmountLowThreshold: 0,
    onopen: null,
    onclose: null as (() => void) | null,
    onmessage: null as ((event: { data: unknown }) => void) | null,
    onbufferedamountlow: null as (() => void) | null,
    most: 0,
    queue: [] as Uint8Array[],
    send(data: Uint8Array | string) {
      if (typeof data === "string") {
        queueMicrotask(() => (this === near ? far : near).onmessage?.({ data }));
        return;
      }
      this.queue.push(data.slice());
      this.bufferedAmount += data.length;
      this.most = Math.max(this.most, this.bufferedAmount);
    },
    close() {
      for (const end of [near, far]) {
        if (end.readyState === "closed") continue;
        end.readyState = "closed";
        end.queue = [];
        queueMicrotask(() => end.onclose?.());
      }
    },
  });
  const near = make();
  const far = make();
  return { near, far };
}

type End = ReturnType<typeof pair>["near"];
const asChannel = (end: End) => end as unknown as Channel;

/** Moves at most `bytes` from one end to the other. */
async function carry(from: End, to: End, bytes = Number.POSITIVE_INFINITY): Promise<number> {
  let moved = 0;
  for (let idle = 0; idle < 30 && moved < bytes; ) {
    const data = from.queue.shift();
    if (!data) {
      idle++;
      await vi.advanceTimersByTimeAsync(0);
      continue;
    }
    idle = 0;
    moved += data.length;
    from.bufferedAmount -= data.length;
    to.onmessage?.({ data: data.buffer });
    if (from.bufferedAmount <= from.bufferedAmountLowThreshold) from.onbufferedamountlow?.();
  }
  await vi.advanceTimersByTimeAsync(0);
  return moved;
}

/** One who shares, one who fetches, and the channels that were opened between them. */
function two() {
  const channels: ReturnType<typeof pair>[] = [];
  const state = { connected: true, present: true, deaf: false };
  const told: Sending[] = [];
  const sender = createFiles({
    open: () => null,
    present: () => true,
    onSending: (sending) => told.push(sending),
  });
  const receiver = createFiles({
    present: () => state.present,
    open(_, label) {
      if (!state.connected) return null;
      const ends = pair(label);
      channels.push(ends);
      queueMicrotask(() => (state.deaf ? ends.far.close() : sender.accept("r", asChannel(ends.far))));
      return asChannel(ends.near);
    },
  });
  const move = async (bytes?: number) => {
    await vi.advanceTimersByTimeAsync(0);
    const last = channels.at(-1);
    return last ? carry(last.far, last.near, bytes) : 0;
  };
  return { sender, receiver, channels, state, told, move };
}

const size = 3_000_001;
const content = noise(size);

test("a file arrives whole, and never more waits than the channel should hold", async () => {
  const { sender, receiver, channels, told, move } = two();
  const offer = await sender.share(new Blob([content], { type: "text/plain" }), "notes.txt");
  expect(offer).toMatchObject({ name: "notes.txt", size, type: "text/plain", sha256: hash(content) });
  const seen: number[] = [];
  const got = receiver.fetch("p", offer, { onProgress: (done) => seen.push(done) });
  await move();
  const blob = await got;
  expect(blob.type).toBe("text/plain");
  expect(hash(new Uint8Array(await blob.arrayBuffer()))).toBe(offer.sha256);
  expect(seen.at(-1)).toBe(size);
  expect(seen).toEqual([...seen].sort((a, b) => a - b));
  expect(channels[0]?.far.most).toBeLessThan(1_100_000);
  expect(channels[0]?.far.readyState).toBe("closed");
  const sent = told.map(({ done }) => done);
  expect(sent).toEqual([...sent].sort((a, b) => a - b));
  expect(told.at(-1)).toEqual({ peerId: "r", id: offer.id, done: size, total: size, open: false });
});

test("who is told of the progress and throws loses nothing by it", async () => {
  const reported: unknown[] = [];
  vi.stubGlobal("reportError", (error: unknown) => reported.push(error));
  const { sender, receiver, state, move } = two();
  const fail = () => {
    throw new Error("a bug in the embedder's drawing");
  };
  const offer = await sender.share(new Blob([content]), "notes.txt", { onProgress: fail });
  const known = reported.length;
  expect(known).toBeGreaterThan(0);
  state.connected = false;
  const got = receiver.fetch("p", offer, { onProgress: fail, onWaiting: fail });
  await vi.advanceTimersByTimeAsync(fileTiming.retryMs / 2);
  state.connected = true;
  await vi.advanceTimersByTimeAsync(fileTiming.retryMs);
  await move();
  expect((await got).size).toBe(size);
  expect(reported.length).toBeGreaterThan(known);
  vi.unstubAllGlobals();
});

test("a transfer that breaks off goes on from where it was", async () => {
  const { sender, receiver, channels, state, move } = two();
  const offer = await sender.share(new Blob([content]), "x");
  const parts: Uint8Array[] = [];
  const got = receiver.fetch("p", offer, { arrival: createArrival((bytes) => void parts.push(bytes)) });
  const first = await move(1_000_000);
  state.connected = false;
  channels[0]?.near.close();
  await vi.advanceTimersByTimeAsync(5 * fileTiming.retryMs);
  expect(channels.length).toBe(1);
  state.connected = true;
  await vi.advanceTimersByTimeAsync(fileTiming.retryMs);
  expect(channels.at(-1)?.near.label).toBe(`file:${offer.id}:${first}`);
  await move();
  expect((await got).size).toBe(0);
  expect(hash(Buffer.concat(parts))).toBe(offer.sha256);
});

test("a channel that falls silent is given up for another", async () => {
  const { sender, receiver, channels, move } = two();
  const offer = await sender.share(new Blob([content]), "x");
  const got = receiver.fetch("p", offer);
  await move(100_000);
  await vi.advanceTimersByTimeAsync(fileTiming.silenceMs + fileTiming.retryMs);
  expect(channels.length).toBe(2);
  await move();
  expect((await got).size).toBe(size);
});

test("what is not what was offered is refused", async () => {
  const { sender, receiver, move } = two();
  const offer = await sender.share(new Blob([content]), "x");
  for (const [lie, code] of [
    [{ sha256: hash(noise(3)) }, "checksum"],
    [{ size: size - 5 }, "malformed"],
  ] as const) {
    const got = expect(receiver.fetch("p", { ...offer, ...lie })).rejects.toMatchObject({ code });
    await move();
    await got;
  }
});

test("it is given up when the sender is gone, offers it no more, is not heard, or we want it no more", async () => {
  const { sender, receiver, state, move } = two();
  const offer = await sender.share(new Blob([content]), "x");
  const stop = new AbortController();
  const aborted = expect(receiver.fetch("p", offer, { signal: stop.signal })).rejects.toMatchObject({
    code: "aborted",
  });
  await vi.advanceTimersByTimeAsync(0);
  stop.abort();
  await aborted;
  const stopped = expect(receiver.fetch("p", offer)).rejects.toMatchObject({ code: "withdrawn" });
  await move(100_000);
  sender.unshare(offer.id);
  await move();
  await stopped;
  expect(sender.shares(offer.id)).toBe(false);
  await expect(receiver.fetch("p", offer)).rejects.toMatchObject({ code: "withdrawn" });
  state.deaf = true;
  const broken = expect(receiver.fetch("p", offer)).rejects.toMatchObject({ code: "broken" });
  await vi.advanceTimersByTimeAsync(fileTiming.tries * fileTiming.retryMs * 2);
  await broken;
  state.present = false;
  await expect(receiver.fetch("p", offer)).rejects.toMatchObject({ code: "gone" });
});

test("without a connection it waits, for as long as the sender is in the meeting", async () => {
  const { sender, receiver, state, move } = two();
  const offer = await sender.share(new Blob([content]), "x");
  state.connected = false;
  let waits = 0;
  const got = receiver.fetch("p", offer, { onWaiting: () => waits++ });
  await vi.advanceTimersByTimeAsync(3 * fileTiming.tries * fileTiming.retryMs);
  expect(waits).toBeGreaterThan(fileTiming.tries);
  state.connected = true;
  await vi.advanceTimersByTimeAsync(fileTiming.retryMs);
  await move();
  expect((await got).size).toBe(size);
});

test("what had arrived before a failure is not sent again", async () => {
  const { sender, receiver, channels, state, move } = two();
  const offer = await sender.share(new Blob([content]), "x");
  const arrival = createArrival();
  const failed = expect(receiver.fetch("p", offer, { arrival })).rejects.toMatchObject({ code: "gone" });
  const first = await move(1_000_000);
  state.present = false;
  channels[0]?.near.close();
  await vi.advanceTimersByTimeAsync(fileTiming.retryMs);
  await failed;
  state.present = true;
  const got = receiver.fetch("p", offer, { arrival });
  await move();
  expect(channels.at(-1)?.near.label).toBe(`file:${offer.id}:${first}`);
  expect(hash(new Uint8Array(await (await got).arrayBuffer()))).toBe(offer.sha256);
});

test("a slow disk holds the sender up, and one without room ends it", { timeout: 30_000 }, async () => {
  const { sender, receiver, channels, move } = two();
  const offer = await sender.share(new Blob([new Uint8Array(10 << 20)]), "x");
  let noRoom = () => {};
  const slow = createArrival(
    () =>
      new Promise<void>((_, reject) => {
        noRoom = () => reject(new Error("no room"));
      }),
  );
  const refused = expect(receiver.fetch("p", offer, { arrival: slow })).rejects.toMatchObject({
    code: "unwritable",
  });
  await move();
  expect(channels[0]?.near.readyState).toBe("closed");
  expect(channels.length).toBe(1);
  noRoom();
  await refused;
});

test("nobody opens channels without end, and closed ones do not count", async () => {
  const { sender } = two();
  const offer = await sender.share(new Blob([content]), "x");
  const ends = Array.from({ length: 17 }, () => pair(`file:${offer.id}:0`));
  for (const { far } of ends) sender.accept("r", asChannel(far));
  expect(ends.map(({ far }) => far.readyState).filter((state) => state === "open").length).toBe(16);
  ends[0]?.near.close();
  const { far } = pair(`file:${offer.id}:0`);
  sender.accept("r", asChannel(far));
  expect(far.readyState).toBe("open");
});

test("reading a file for its checksum can be stopped", async () => {
  const { sender } = two();
  const stop = new AbortController();
  const shared = sender.share(new Blob([content]), "x", {
    signal: stop.signal,
    onProgress: () => stop.abort(),
  });
  await expect(shared).rejects.toMatchObject({ code: "aborted" });
});

test("an empty file is a file", async () => {
  const { sender, receiver } = two();
  const offer = await sender.share(new Blob([]), "empty");
  expect((await receiver.fetch("p", offer)).size).toBe(0);
});

test("other channels are not touched, and meta that is no offer is none", async () => {
  const { near } = pair("something else");
  expect(createFiles({ open: () => null, present: () => true }).accept("r", asChannel(near))).toBe(false);
  expect(near.readyState).toBe("open");
  const offer: FileOffer = { id: "a-1", name: "n", size: 1, type: "", sha256: "0".repeat(64) };
  expect(fileOf({ file: offer })).toEqual(offer);
  for (const bad of [
    null,
    1,
    {},
    { file: { ...offer, size: -1 } },
    { file: { ...offer, id: "a:b" } },
    { file: { ...offer, sha256: "x" } },
  ]) {
    expect(fileOf(bad)).toBe(null);
  }
});
