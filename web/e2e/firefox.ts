import { existsSync } from "node:fs";
import puppeteer, { type Browser, type Page } from "puppeteer-core";

/** Debian's or Mozilla's own; "" if there is none. Playwright drives a Firefox of its own making alone. */
export const firefox =
  [process.env.FIREFOX, "/usr/bin/firefox-esr", "/usr/bin/firefox"].find(
    (path) => path && existsSync(path),
  ) ?? "";

/** A Firefox with fake devices, whose user says yes. */
export function launchFirefox(): Promise<Browser> {
  return puppeteer.launch({
    browser: "firefox",
    executablePath: firefox,
    extraPrefsFirefox: {
      "media.navigator.streams.fake": true,
      "media.navigator.permission.disabled": true,
      "media.autoplay.default": 0,
      // As for Chromium: candidates of loopback, by their address.
      "media.peerconnection.ice.loopback": true,
      "media.peerconnection.ice.obfuscate_host_addresses": false,
    },
  });
}

export const element = (id: string) => `[data-testid="${id}"]`;

/** Someone new in the meeting; with a browser to itself, for a tab that is not seen asks for no pictures. */
export async function enterWithFirefox(
  browser: Browser,
  url: string,
  key: string,
  name: string,
): Promise<Page> {
  const page = await browser.newPage();
  await page.setViewport({ width: 800, height: 600 });
  await page.goto(`${url}/m/${encodeURIComponent(key)}`);
  await page.locator(element("name")).fill(name);
  await page.locator(element("join")).click();
  await page.locator(`${element("meeting")}[data-status="joined"]`).wait();
  return page;
}
