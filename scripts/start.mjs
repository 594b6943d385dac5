// `npm start`: installs what is missing, then starts Farebox with the arguments after `--`.
import { ready } from './install.mjs';
import { farebox } from './run.mjs';

ready();
farebox(['start', ...process.argv.slice(2)]);
