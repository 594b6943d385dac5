import fc from 'fast-check';

// `npm test` picks a seed, prints it and hands it in, so that a failure on any machine can be repeated with SEED=….
const seed = Number(process.env['SEED']);
if (process.env['SEED'] !== undefined && Number.isSafeInteger(seed)) fc.configureGlobal({ seed });
