package hsm

import (
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/ThalesGroup/crypto11"
	"github.com/miekg/pkcs11"
)

const (
	// maxSessions bounds how many signatures are made at a time. crypto11 opens
	// all of them before it uses one again.
	maxSessions = 16
	// poolWait is how long a signature waits for a session.
	poolWait = 5 * time.Second
)

// conn is one login. The handles found in it mean nothing in the next one.
type conn struct {
	token *crypto11.Context // searches, makes and signs, over a pool of sessions
	// module is what the context has loaded, once more, for what that leaves out:
	// what the token says of its PIN, a login whose failure is seen, and names.
	module *pkcs11.Ctx
	slot   uint

	mu      sync.Mutex // a session does one thing at a time
	session pkcs11.SessionHandle

	// objects is held by whoever looks for keys, makes or deletes them. SoftHSM
	// fails if that happens at the same time; and what one has found would often
	// be what the other has just deleted.
	objects sync.Mutex
}

func connect(config *Config) (*conn, error) {
	if err := config.check(); err != nil {
		return nil, err
	}
	pin, err := config.pin()
	if err != nil {
		return nil, err
	}
	token, err := openToken(config)
	if err != nil {
		return nil, err
	}
	c := &conn{token: token, module: pkcs11.New(config.Module)}
	if err := c.start(config.TokenLabel, pin); err != nil {
		c.close()
		return nil, err
	}
	return c, nil
}

// openToken leaves the login to us: crypto11 would keep the PIN.
func openToken(config *Config) (token *crypto11.Context, err error) {
	defer func() {
		if r := recover(); r != nil { // its pool panics if it may have one session only
			token, err = nil, fmt.Errorf("hsm: token %q: allows too few sessions; at least 2 are needed", config.TokenLabel)
		}
	}()
	token, err = crypto11.Configure(&crypto11.Config{
		Path:              config.Module,
		TokenLabel:        config.TokenLabel,
		MaxSessions:       maxSessions,
		PoolWaitTimeout:   poolWait,
		LoginNotSupported: true,
	})
	if err == nil {
		return token, nil
	}
	switch err.Error() { // crypto11 exports neither
	case "could not find PKCS#11 token":
		return nil, fmt.Errorf("hsm: token %q: module %s has none with this label; "+
			"correct it, or initialize one (pkcs11-tool --list-token-slots shows them)", config.TokenLabel, config.Module)
	case "failed to create module context: failed to open module":
		return nil, fmt.Errorf("hsm: module %s: is not a PKCS#11 library for this machine, or a library that it needs is missing", config.Module)
	}
	return nil, fmt.Errorf("hsm: token %q: %w", config.TokenLabel, err)
}

// start logs in. What is logged in is the process, in all its sessions.
func (c *conn) start(label, pin string) error {
	if c.module == nil {
		return errors.New("hsm: the module could not be loaded twice")
	}
	flags, err := c.findSlot(label)
	if err != nil {
		return err
	}
	if c.session, err = c.module.OpenSession(c.slot, pkcs11.CKF_SERIAL_SESSION|pkcs11.CKF_RW_SESSION); err != nil {
		return fmt.Errorf("hsm: token %q: no session: %w", label, err)
	}
	if c.check() == nil { // by another vault of this process
		return nil
	}
	if err := mayLogIn(flags); err != nil {
		return fmt.Errorf("hsm: token %q: %w", label, err)
	}
	err = c.module.Login(c.session, pkcs11.CKU_USER, pin)
	if err == nil || errors.Is(err, pkcs11.Error(pkcs11.CKR_USER_ALREADY_LOGGED_IN)) {
		return nil
	}
	if refused := refusal(err); refused != nil {
		return fmt.Errorf("hsm: token %q: %w", label, refused)
	}
	return fmt.Errorf("hsm: token %q: no login: %w", label, err)
}

// findSlot finds where the token is, and what it says of itself.
func (c *conn) findSlot(label string) (flags uint, err error) {
	slots, err := c.module.GetSlotList(true)
	if err != nil {
		return 0, fmt.Errorf("hsm: slots: %w", err)
	}
	found := 0
	for _, slot := range slots {
		info, err := c.module.GetTokenInfo(slot)
		if err != nil {
			return 0, fmt.Errorf("hsm: slot %d: %w", slot, err)
		}
		if info.Label == label {
			c.slot, flags = slot, info.Flags
			found++
		}
	}
	if found != 1 {
		return 0, fmt.Errorf("hsm: token %q: the module has %d with this label; give each its own", label, found)
	}
	return flags, nil
}

// check returns an error that isLost if the user is not logged in. A token shows
// no private keys then, as if there were none.
func (c *conn) check() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	info, err := c.module.GetSessionInfo(c.session)
	if err != nil {
		return fmt.Errorf("%w: %w", errLost, err)
	}
	if info.State != pkcs11.CKS_RW_USER_FUNCTIONS {
		return errLost
	}
	return nil
}

// rename gives both halves of a new key their id. Each is the only object of its
// class with its random one.
func (c *conn) rename(from, to []byte) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, class := range []uint{pkcs11.CKO_PUBLIC_KEY, pkcs11.CKO_PRIVATE_KEY} {
		objects, err := c.search([]*pkcs11.Attribute{
			pkcs11.NewAttribute(pkcs11.CKA_CLASS, class),
			pkcs11.NewAttribute(pkcs11.CKA_ID, from),
		})
		if err != nil {
			return err
		}
		if len(objects) != 1 {
			return fmt.Errorf("%d objects where one was made", len(objects))
		}
		name := []*pkcs11.Attribute{pkcs11.NewAttribute(pkcs11.CKA_ID, to)}
		if err := c.module.SetAttributeValue(c.session, objects[0], name); err != nil {
			return err
		}
	}
	return nil
}

func (c *conn) search(template []*pkcs11.Attribute) ([]pkcs11.ObjectHandle, error) {
	if err := c.module.FindObjectsInit(c.session, template); err != nil {
		return nil, err
	}
	objects, _, err := c.module.FindObjects(c.session, 2)
	return objects, errors.Join(err, c.module.FindObjectsFinal(c.session))
}

// close ends the login, if no other vault of this process needs it. Nobody may
// use c then or afterwards.
func (c *conn) close() {
	if c.module != nil {
		_ = c.module.CloseSession(c.session) // it may be lost, or never was
	}
	_ = c.token.Close() // it never fails
	if c.module != nil {
		c.module.Destroy()
	}
}
