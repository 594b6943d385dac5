// `npm run -s farebox -- <verb> …`: any verb of the command line, from the sources.
import { ready } from './install.mjs';
import { farebox } from './run.mjs';

ready();
farebox(process.argv.slice(2));
