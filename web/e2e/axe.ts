import AxeBuilder from "@axe-core/playwright";
import type { Page } from "@playwright/test";

/** What axe complains of, on the page or a part of it, once its colours are what they are to be. */
export async function violationsOf(page: Page, part?: string) {
  await page.evaluate(async () => {
    const transitions = document.getAnimations().filter((animation) => animation instanceof CSSTransition);
    await Promise.allSettled(transitions.map(({ finished }) => finished));
  });
  const axe = new AxeBuilder({ page });
  return (await (part === undefined ? axe : axe.include(part)).analyze()).violations;
}
