// Package notify tells webhooks and chats how jobs ended.
package notify
