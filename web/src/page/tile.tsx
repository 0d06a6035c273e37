import type { PeerState } from "../mesh/peer.ts";
import type { Quality } from "../mesh/quality.ts";
import { usePlayback, useShown } from "./hooks.ts";
import { CameraOffIcon, HandIcon, HostIcon, MicOffIcon, PinIcon, QualityIcon } from "./icons.tsx";
import { texts } from "./texts.ts";

export interface TileProps {
  peerId: string;
  name: string;
  kind: "camera" | "screen";
  self: boolean;
  host: boolean;
  away: boolean;
  state: PeerState;
  audio: MediaStreamTrack | null;
  video: MediaStreamTrack | null;
  /** What the participant says is on. */
  audioOn: boolean;
  videoOn: boolean;
  speaking: boolean;
  /** Its place among the raised hands; 0 while down. */
  hand: number;
  quality: Quality["level"];
  pinned: boolean;
  /** Absent: there is nothing to pin it over. */
  pin?: () => void;
  /** How tall it is shown. */
  shown(height: number): void;
}

export function Tile(props: TileProps) {
  const { peerId, name, kind, self, state, audioOn, videoOn } = props;
  // Our own sound is never played back to us.
  const video = usePlayback(self ? null : props.audio, videoOn ? props.video : null);
  const tile = useShown<HTMLLIElement>(props.shown);
  const camera = kind === "camera";
  // The original client says nothing of its microphone and camera.
  const switches = camera && state !== "apart";
  const title = camera ? name : texts.screenOf(name);
  return (
    <li
      ref={tile}
      class={`tile ${kind} ${props.speaking && camera ? "speaking" : ""}`}
      data-testid="tile"
      data-kind={kind}
      data-peer-id={peerId}
      data-self={self}
      data-state={state}
      data-audio={audioOn ? "on" : "off"}
      data-video={videoOn ? "on" : "off"}
      data-speaking={props.speaking}
      data-pinned={props.pinned}
    >
      <video
        ref={video}
        class={self && camera ? "mirrored" : ""}
        data-hidden={!videoOn}
        autoPlay
        playsInline
        muted={self}
        aria-label={title}
      />
      {!videoOn && (
        <span class={`avatar hue-${hueOf(peerId)}`} aria-hidden="true">
          {initialsOf(name)}
        </span>
      )}
      {state !== "connected" && (
        <span class="state" data-testid="tile-state">
          <span class="dot" aria-hidden="true" />
          {texts.states[state]}
        </span>
      )}
      {props.pin && (
        <button
          type="button"
          class="pin"
          aria-pressed={props.pinned}
          aria-label={props.pinned ? texts.unpin(title) : texts.pin(title)}
          title={props.pinned ? texts.unpin(title) : texts.pin(title)}
          data-testid="pin"
          onClick={props.pin}
        >
          <PinIcon />
        </button>
      )}
      <div class="plate">
        {props.hand > 0 && camera && (
          <span
            class="badge hand"
            role="img"
            aria-label={texts.handPlace(props.hand)}
            data-testid="badge-hand"
          >
            <HandIcon />
            <b>{props.hand}</b>
          </span>
        )}
        {props.host && camera && <Badge text={texts.host} icon={<HostIcon />} kind="host" />}
        <span class="name" dir="auto" data-testid="tile-name">
          {title}
        </span>
        {self && camera && <span class="you">{texts.you}</span>}
        {props.away && <span class="you">{texts.away}</span>}
        {switches && !audioOn && <Badge text={texts.muted} icon={<MicOffIcon />} kind="muted" />}
        {switches && !videoOn && <Badge text={texts.noCamera} icon={<CameraOffIcon />} kind="no-camera" />}
        {camera && (props.quality === "fair" || props.quality === "poor") && (
          <Badge
            text={texts.connectionIs(texts.qualities[props.quality])}
            icon={<QualityIcon />}
            kind={`quality ${props.quality}`}
          />
        )}
      </div>
    </li>
  );
}

function Badge({ text, icon, kind }: { text: string; icon: preact.ComponentChild; kind: string }) {
  return (
    <span class={`badge ${kind}`} role="img" aria-label={text} title={text} data-testid={`badge-${kind}`}>
      {icon}
    </span>
  );
}

/** The first letters of up to two words; of a Chinese name its last two characters, as is usual. */
export function initialsOf(name: string): string {
  const words = name.trim().split(/\s+/);
  const letters = [...(words[0] ?? "")];
  if (/\p{Script=Han}/u.test(letters[0] ?? "")) return letters.slice(-2).join("");
  const first = letters[0] ?? "?";
  const last = words.length > 1 ? ([...(words.at(-1) ?? "")][0] ?? "") : "";
  return (first + last).toLocaleUpperCase();
}

function hueOf(peerId: string): number {
  let sum = 0;
  for (const char of peerId) sum = (sum * 31 + (char.codePointAt(0) ?? 0)) % 997;
  return sum % 6;
}
