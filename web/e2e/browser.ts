import { type Browser, chromium } from "@playwright/test";

const always = [
  "--no-sandbox",
  "--disable-gpu",
  "--disable-quic",
  "--no-first-run",
  "--disable-background-networking",
  "--disable-component-update",
  "--disable-sync",
  // Without these, host candidates need multicast DNS and an address that is not loopback.
  "--disable-features=WebRtcHideLocalIpsWithMdns",
  "--allow-loopback-in-peer-connection",
];

interface Machine {
  /** Fake camera and microphone are there. */
  devices: boolean;
  /** The user says yes when asked for them. */
  permission: boolean;
}

export function launch({ devices, permission }: Machine): Promise<Browser> {
  return chromium.launch({
    executablePath: process.env.CHROMIUM ?? "/usr/bin/chromium",
    args: [
      ...always,
      ...(devices ? ["--use-fake-device-for-media-stream"] : []),
      ...(permission ? ["--use-fake-ui-for-media-stream"] : []),
    ],
  });
}
