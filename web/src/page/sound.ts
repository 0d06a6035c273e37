/** Where the others' sound comes out, and whether the browser lets it. */
import { createEvents } from "../mesh/events.ts";
import { rememberDevice, rememberedDevice } from "./storage.ts";

function createSound() {
  const events = createEvents<{ change: undefined }>();
  const players = new Set<HTMLMediaElement>();
  let sink = rememberedDevice("speaker");
  let blocked = false;

  function route(player: HTMLMediaElement): void {
    // A speaker that was unplugged is replaced by the usual one: by the browser, not by us.
    if (canChooseSpeaker && sink !== "") player.setSinkId(sink).catch(() => {});
  }

  function play(player: HTMLMediaElement): void {
    player.play().catch((error: unknown) => {
      if ((error as DOMException).name !== "NotAllowedError" || blocked) return;
      blocked = true; // until the user has pressed something
      events.emit("change", undefined);
    });
  }

  return {
    on: events.on,
    sink: () => sink,
    blocked: () => blocked,

    /** Plays what it holds, also when it holds something else later. Returns what ends that. */
    attach(player: HTMLMediaElement): () => void {
      players.add(player);
      route(player);
      return () => players.delete(player);
    },
    play,

    choose(deviceId: string): void {
      sink = deviceId;
      rememberDevice("speaker", deviceId);
      for (const player of players) {
        if (canChooseSpeaker) player.setSinkId(deviceId).catch(() => {});
      }
      events.emit("change", undefined);
    },

    /** From a press only: that is what the browser waits for. */
    unblock(): void {
      blocked = false;
      for (const player of players) play(player);
      events.emit("change", undefined);
    },
  };
}

/** Safari has no choice of speakers; phones neither. */
export const canChooseSpeaker = typeof HTMLMediaElement.prototype.setSinkId === "function";

export const sound = createSound();
