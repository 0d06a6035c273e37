import { useEffect, useRef, useState } from "preact/hooks";
import type { LocalMedia } from "../mesh/local-media.ts";
import { useSource } from "./hooks.ts";
import { canChooseSpeaker, sound } from "./sound.ts";
import { rememberDevice } from "./storage.ts";
import { texts } from "./texts.ts";

/** What is plugged in. Browsers tell the names only once the user has said yes to a device. */
function useDevices(local: LocalMedia): MediaDeviceInfo[] {
  const [list, setList] = useState<MediaDeviceInfo[]>([]);
  const { audio, camera } = local.tracks();
  useEffect(() => {
    const devices = navigator.mediaDevices;
    if (!devices?.enumerateDevices) return;
    let gone = false;
    const look = () =>
      devices.enumerateDevices().then(
        (found) => gone || setList(found.filter(({ deviceId }) => deviceId !== "")),
        () => {},
      );
    void look();
    devices.addEventListener?.("devicechange", look);
    return () => {
      gone = true;
      devices.removeEventListener?.("devicechange", look);
    };
  }, [audio?.id, camera?.id]);
  return list;
}

export function DevicePickers({ local }: { local: LocalMedia }) {
  useSource(sound);
  const devices = useDevices(local);
  const of = (kind: MediaDeviceKind) => devices.filter((device) => device.kind === kind);
  const { audio, camera } = local.tracks();
  const take = (slot: "audio" | "camera") => (deviceId: string) => {
    rememberDevice(slot, deviceId);
    void local.choose(slot, deviceId);
  };
  return (
    <div class="pickers">
      <Picker
        label={texts.camera}
        testid="pick-camera"
        devices={of("videoinput")}
        now={idOf(camera)}
        take={take("camera")}
      />
      <Picker
        label={texts.microphone}
        testid="pick-microphone"
        devices={of("audioinput")}
        now={idOf(audio)}
        take={take("audio")}
      />
      <LevelMeter track={audio} />
      {canChooseSpeaker && (
        <Picker
          label={texts.speaker}
          testid="pick-speaker"
          devices={of("audiooutput")}
          now={sound.sink() || (of("audiooutput")[0]?.deviceId ?? "")}
          take={sound.choose}
        />
      )}
    </div>
  );
}

const idOf = (track: MediaStreamTrack | null) => track?.getSettings?.().deviceId ?? "";

function Picker(props: {
  label: string;
  testid: string;
  devices: MediaDeviceInfo[];
  now: string;
  take(deviceId: string): void;
}) {
  if (props.devices.length === 0) return null;
  return (
    <label class="field">
      <span>{props.label}</span>
      <select
        value={props.now}
        data-testid={props.testid}
        onChange={(event) => props.take(event.currentTarget.value)}
      >
        {props.devices.every(({ deviceId }) => deviceId !== props.now) && <option value={props.now} />}
        {props.devices.map(({ deviceId, label }, i) => (
          <option key={deviceId} value={deviceId}>
            {label || texts.device(props.label, i + 1)}
          </option>
        ))}
      </select>
    </label>
  );
}

/** Shows that the microphone hears something. */
function LevelMeter({ track }: { track: MediaStreamTrack | null }) {
  const meter = useRef<HTMLMeterElement>(null);
  useLoudness(track, (level) => {
    if (meter.current) meter.current.value = Math.min(1, level * 4);
  });
  if (!track) return null;
  return (
    <meter
      ref={meter}
      class="level"
      min={0}
      max={1}
      value={0}
      aria-label={texts.micLevel}
      data-testid="level"
    />
  );
}

/** Tells ten times a second how loud a track is, 0–1. */
export function useLoudness(track: MediaStreamTrack | null, tell: (level: number) => void): void {
  const latest = useRef(tell);
  latest.current = tell;
  useEffect(() => {
    if (!track || typeof AudioContext !== "function") return;
    const context = new AudioContext();
    const analyser = context.createAnalyser();
    analyser.fftSize = 512;
    context.createMediaStreamSource(new MediaStream([track])).connect(analyser);
    const wave = new Float32Array(analyser.fftSize);
    // Without a press on the page before, browsers do not let it run.
    const resume = () => void context.resume().catch(() => {});
    addEventListener("pointerdown", resume);
    addEventListener("keydown", resume);
    const timer = setInterval(() => {
      analyser.getFloatTimeDomainData(wave);
      latest.current(Math.sqrt(wave.reduce((sum, value) => sum + value * value, 0) / wave.length));
    }, 100);
    return () => {
      clearInterval(timer);
      removeEventListener("pointerdown", resume);
      removeEventListener("keydown", resume);
      void context.close().catch(() => {});
    };
  }, [track?.id]);
}
