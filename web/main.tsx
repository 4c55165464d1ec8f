/** Starts the page of `ingot serve`: conversations with the models of one server, kept in the browser. */
import { render } from 'preact';
import { App } from './app.tsx';
import { loadModels } from './models.ts';
import { keepStored } from './store.ts';

keepStored();
loadModels();
render(<App />, document.body);
