import * as React from 'react';
import { Markdown } from '@/components/markdown';

export default KubeChat.element('Greeting', { React, Markdown, sendUserMessage }, props);
