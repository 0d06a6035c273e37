import type { Page } from "@playwright/test";
import { expect, expectMesh, join, others, test } from "./fixtures.ts";

test("what is said is heard by all, in private by one, and can be taken back", async ({
  server,
  visitor,
}) => {
  const key = await server.createMeeting();
  const [ada, grace, linus] = [
    await visitor.enter(key, "Ada"),
    await visitor.enter(key, "Grace"),
    await visitor.enter(key, "Linus"),
  ];
  await expect(others(ada)).toHaveCount(2);
  await ada.keyboard.press("c");
  await ada.getByTestId("chat-text").fill("<b>两点见？</b>");
  await ada.keyboard.press("Enter");
  for (const page of [grace, linus]) {
    await expect(page.getByTestId("unread")).toHaveText("1");
    await expect(page.getByTestId("notices")).toContainText("Ada: <b>两点见？</b>");
    await page.getByTestId("open-chat").click();
    await expect(page.getByTestId("message")).toContainText("<b>两点见？</b>");
    await expect(page.getByTestId("unread")).toHaveCount(0);
  }
  await grace.getByTestId("chat-to").selectOption("Ada");
  await grace.getByTestId("chat-text").pressSequentially("yes");
  await expect(ada.getByTestId("typing")).toContainText("Grace");
  await grace.getByTestId("chat-send").click();
  await expect(ada.locator('[data-testid="message"][data-private="true"]')).toContainText("yes");
  await ada.getByTestId("chat-text").fill("good");
  await ada.keyboard.press("Enter");
  await expect(linus.getByTestId("message")).toHaveCount(2); // not the private one
  await ada.getByTestId("take-back").first().click();
  for (const page of [ada, grace, linus]) {
    await expect(page.getByTestId("message").first()).toContainText("Taken back");
  }
});

test("what is said while one is away arrives once, in order", async ({ server, visitor }) => {
  const key = await server.createMeeting();
  const [ada, grace] = [await visitor.enter(key, "Ada"), await visitor.enter(key, "Grace")];
  await expectMesh([ada, grace]);
  for (const page of [ada, grace]) await page.getByTestId("open-chat").click();
  await server.kill();
  await expect(grace.getByTestId("banner")).toContainText("reconnecting");
  await ada.getByTestId("chat-text").fill("one");
  await ada.keyboard.press("Enter");
  await ada.getByTestId("chat-text").fill("two");
  await ada.keyboard.press("Enter");
  await expect(ada.getByTestId("message").last()).toContainText("Sending");
  await server.start();
  await expect(grace.getByTestId("message")).toHaveCount(2, { timeout: 30_000 });
  await expect(grace.locator(".said-text")).toHaveText(["one", "two"]);
  await expect(ada.locator(".said-text")).toHaveText(["one", "two"]);
  await expect(ada.getByTestId("message").last()).not.toContainText("Sending");
});

test("a page that is reloaded shows what was said before, and meanwhile", async ({ server, visitor }) => {
  const key = await server.createMeeting();
  const [ada, grace] = [await visitor.enter(key, "Ada"), await visitor.enter(key, "Grace")];
  await expectMesh([ada, grace]);
  for (const page of [ada, grace]) await page.getByTestId("open-chat").click();
  async function say(page: Page, text: string): Promise<void> {
    await page.getByTestId("chat-text").fill(text);
    await page.keyboard.press("Enter");
    await expect(page.getByTestId("message").filter({ hasText: text })).not.toContainText("Sending");
  }
  await say(ada, "one");
  await say(grace, "two");
  await ada.getByTestId("chat-to").selectOption("Grace");
  await say(ada, "three, for you");
  await say(grace, "not so");
  await grace.getByTestId("take-back").last().click();
  await expect(ada.getByTestId("message").last()).toContainText("Taken back");
  let open = () => {};
  const held = new Promise<void>((resolve) => {
    open = resolve;
  });
  await ada.route(/\.js$/, async (route) => {
    await held;
    await route.continue();
  });
  const reloaded = ada.reload();
  await expect(others(grace)).toHaveCount(0);
  await say(grace, "four");
  open();
  await reloaded;
  await expectMesh([ada, grace]);
  await ada.getByTestId("open-chat").click();
  await expect(ada.locator(".said-text")).toHaveText(["one", "two", "three, for you", "four"]);
  await expect(ada.getByTestId("message")).toHaveCount(5);
  await expect(ada.getByTestId("message").nth(3)).toContainText("Taken back");
  await expect(ada.locator('[data-testid="message"][data-private="true"]')).toContainText("three");
  await ada.getByTestId("take-back").first().click(); // they are still its own
  await expect(grace.getByTestId("message").first()).toContainText("Taken back");
});

test("who was in a meeting that keeps its chat finds on another day what was said, above a line", async ({
  server,
  visitor,
}) => {
  const ada = await visitor.page();
  await ada.goto("/");
  await ada.getByTestId("keep-chat").selectOption({ label: "7 days" });
  await ada.getByTestId("create").click();
  const key = await ada.getByTestId("created-key").inputValue();
  await join(ada, key, "Ada");
  const grace = await visitor.enter(key, "Grace");
  await expect(others(ada, "Grace")).toHaveCount(1);
  for (const page of [ada, grace]) {
    await page.getByTestId("open-chat").click();
    await expect(page.getByTestId("kept")).toContainText("kept for 7 days after everyone has left");
  }
  async function say(page: Page, text: string): Promise<void> {
    await page.getByTestId("chat-text").fill(text);
    await page.keyboard.press("Enter");
    await expect(page.getByTestId("message").filter({ hasText: text })).not.toContainText("Sending");
  }
  await say(ada, "one");
  await say(grace, "two");
  await expect(grace.locator(".said-text")).toHaveText(["one", "two"]);
  await expect(grace.getByTestId("earlier")).toHaveCount(0);
  await grace.getByTestId("leave").click();
  await expect(others(ada)).toHaveCount(0);
  await say(ada, "three");
  await ada.getByTestId("leave").click();
  await expect(ada.getByTestId("over")).toBeVisible();
  await server.kill();
  await server.start();

  await join(grace, key, "Grace");
  await expect(grace.getByTestId("unread")).toHaveText("1");
  await grace.getByTestId("open-chat").click();
  await expect(grace.locator(".said-text")).toHaveText(["one", "two", "three"]);
  await expect(grace.locator('[data-testid="message"][data-own="true"]')).toContainText("two");
  await say(grace, "four");
  await expect(grace.locator(".log li")).toContainText(["one", "two", "three", "Up to here", "four"]);
  const linus = await visitor.enter(key, "Linus");
  await linus.getByTestId("open-chat").click();
  await expect(linus.getByTestId("kept")).toBeVisible();
  await expect(linus.getByTestId("message")).toHaveCount(0);

  // What it was is forgotten with the meeting.
  const remembered = () => grace.evaluate((key) => localStorage.getItem("signald.pasts")?.includes(key), key);
  expect(await remembered()).toBe(true);
  await join(ada, key, "Ada");
  await ada.getByTestId("open-people").click();
  await ada.getByTestId("host-controls").locator("summary").click();
  await ada.getByTestId("end").click();
  await ada.getByTestId("end").click();
  await expect(grace.getByTestId("over")).toBeVisible();
  expect(await remembered()).toBe(false);
});
