import type { Page } from "puppeteer-core";
import { element, enterWithFirefox, firefox, launchFirefox } from "./firefox.ts";
import { type Evaluates, expect, expectMediaRising, others, test } from "./fixtures.ts";

/** How many others are connected, as the page of either browser shows it. */
const connected = (page: Evaluates) =>
  page.evaluate(async () => {
    const tiles = document.querySelectorAll(
      '[data-self="false"][data-kind="camera"][data-state="connected"]',
    );
    return tiles.length;
  });

const patience = { timeout: 30_000 };
const self = (page: Page) => page.evaluate(() => window.signald?.mesh.view().selfId);

test("Firefox and Chromium meet, and so do two Firefoxes", async ({ server, visitor }, info) => {
  test.skip(!firefox, "there is no Firefox: apt install firefox-esr, or FIREFOX=path");
  info.setTimeout(120_000);
  const foxes = await Promise.all([launchFirefox(), launchFirefox()]);
  try {
    const key = await server.createMeeting();
    const ada = await visitor.enter(key, "Ada");
    const [grace, linus] = await Promise.all(
      foxes.map((fox, i) => enterWithFirefox(fox, server.url, key, ["Grace", "Linus"][i] ?? "")),
    );
    if (!grace || !linus) throw new Error("two were to enter");
    for (const page of [ada, grace, linus]) await expect.poll(() => connected(page), patience).toBe(2);
    for (const page of [ada, grace, linus]) await expectMediaRising(page, 3);

    await grace.locator(element("toggle-mic")).click();
    await expect(others(ada, "Grace").getByTestId("badge-muted")).toBeVisible();

    await ada.keyboard.press("c");
    await ada.getByTestId("chat-text").fill("两点见？");
    await ada.keyboard.press("Enter");
    await expect
      .poll(() => grace.$eval(element("notices"), (notices) => notices.textContent))
      .toContain("两点见？");

    const before = await self(grace);
    await grace.reload();
    await expect.poll(() => self(grace)).toBe(before);
    await expect.poll(() => connected(grace), patience).toBe(2);
    await expectMediaRising(grace, 3);

    await linus.close();
    await expect(others(ada, "Linus")).toHaveCount(0, patience); // a Firefox that ends at once may say nothing
    await expect(ada.getByTestId("notices")).toContainText("Linus left");
  } finally {
    await Promise.all(foxes.map((fox) => fox.close()));
  }
});
