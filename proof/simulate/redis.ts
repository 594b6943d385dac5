import type { Subject, Wrap } from './subject.js';
export async function redisSubject(_wrap?: Wrap): Promise<Subject> { throw new Error('not yet'); }
