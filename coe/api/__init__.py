"""HTTP only: requests are parsed, answers rendered, errors given their OpenAI shape."""
