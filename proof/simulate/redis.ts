import type { Plant, Subject } from './subject.js';
export async function redisSubject(_plant?: Plant): Promise<Subject> { throw new Error('not yet'); }
