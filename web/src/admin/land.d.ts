/** Made by land.ts when the page is built. */
declare module "virtual:land" {
  const path: string;
  export default path;
}
