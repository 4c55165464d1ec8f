/** The models that are served, and their words: which there are, texts to tokens and back. */
import { readBody } from './body.ts';
import type { Api, Services } from './context.ts';
import { detokenizeRequest, tokenizeRequest } from './requests.ts';

export function addModelRoutes(app: Api, { models }: Services): void {
  const created = Math.floor(Date.now() / 1000);
  const describe = (name: string) => ({
    id: name,
    object: 'model',
    created,
    owned_by: 'ingot',
    loaded: models.loaded(name) !== undefined,
  });
  app.get('/v1/models', (c) => c.json({ object: 'list', data: models.names.map(describe) }));
  app.get('/v1/models/:model{.+}', (c) => c.json(describe(models.check(c.req.param('model')))));

  app.post('/tokenize', async (c) => {
    const { content, model } = await readBody(c, tokenizeRequest);
    const tokens = await models.use(model, c.req.raw.signal, async ({ engine }) =>
      content === '' ? [] : engine.encode(content),
    );
    return c.json({ tokens });
  });
  app.post('/detokenize', async (c) => {
    const { tokens, model } = await readBody(c, detokenizeRequest);
    return c.json({ content: await models.use(model, c.req.raw.signal, ({ engine }) => engine.decode(tokens)) });
  });
}
