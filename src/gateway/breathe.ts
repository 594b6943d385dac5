/** Long work in steps: between two of them everybody else in this process has a turn. */
export const breathe = (): Promise<void> => new Promise((go) => setImmediate(go));
