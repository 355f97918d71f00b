import * as React from 'react';
import { Markdown } from '@/components/markdown';

// An element, not a component: its type stays the same when this file is run again, so what is unfolded stays so.
export default KubeChat.element('Turn', { React, Markdown, sendUserMessage }, props);
