package hsm

import (
	"errors"
	"fmt"
	"io/fs"
	"slices"

	"github.com/miekg/pkcs11"
)

var (
	errClosed = errors.New("the vault is closed")
	errLost   = errors.New("there is no login")
	// errRefused is a login that must not be tried again.
	errRefused       = errors.New("not logged in")
	errMissing error = missingError{}
)

// missingError says what fs.ErrNotExist says of files.
type missingError struct{}

func (missingError) Error() string { return "there is no such key" }
func (missingError) Unwrap() error { return fs.ErrNotExist }

// lostCodes are what a token answers when a new login may help.
var lostCodes = []pkcs11.Error{
	pkcs11.CKR_CRYPTOKI_NOT_INITIALIZED, pkcs11.CKR_DEVICE_ERROR, pkcs11.CKR_DEVICE_REMOVED, pkcs11.CKR_FUNCTION_FAILED,
	pkcs11.CKR_GENERAL_ERROR, pkcs11.CKR_KEY_HANDLE_INVALID, pkcs11.CKR_OBJECT_HANDLE_INVALID, pkcs11.CKR_OPERATION_ACTIVE,
	pkcs11.CKR_SESSION_CLOSED, pkcs11.CKR_SESSION_HANDLE_INVALID, pkcs11.CKR_SLOT_ID_INVALID, pkcs11.CKR_TOKEN_NOT_PRESENT,
	pkcs11.CKR_TOKEN_NOT_RECOGNIZED, pkcs11.CKR_USER_NOT_LOGGED_IN,
}

// isLost reports whether a new login may help. Nobody but its vendor knows what
// a vendor's own code means.
func isLost(err error) bool {
	if errors.Is(err, errLost) {
		return true
	}
	code, ok := errors.AsType[pkcs11.Error](err)
	return ok && (slices.Contains(lostCodes, code) || code >= pkcs11.CKR_VENDOR_DEFINED)
}

// isStale reports whether a handle is no longer one: the login was lost, or
// somebody has deleted what it meant.
func isStale(err error) bool {
	code, ok := errors.AsType[pkcs11.Error](err)
	return ok && (code == pkcs11.CKR_KEY_HANDLE_INVALID || code == pkcs11.CKR_OBJECT_HANDLE_INVALID)
}

// refusal says why a login failed for good, or returns nil.
func refusal(err error) error {
	code, ok := errors.AsType[pkcs11.Error](err)
	if !ok {
		return nil
	}
	var why string
	switch code {
	case pkcs11.CKR_PIN_INCORRECT, pkcs11.CKR_PIN_INVALID, pkcs11.CKR_PIN_LEN_RANGE:
		why = "the PIN is wrong; it is not tried again, as that can lock the token: correct it, then restart"
	case pkcs11.CKR_PIN_LOCKED:
		why = lockedText
	case pkcs11.CKR_PIN_EXPIRED:
		why = "the PIN has expired: set a new one with the HSM's own tool"
	case pkcs11.CKR_USER_PIN_NOT_INITIALIZED:
		why = "the token's user has no PIN: set one with the HSM's own tool"
	case pkcs11.CKR_USER_ANOTHER_ALREADY_LOGGED_IN:
		why = "this process is logged in to the token as its security officer"
	default:
		return nil
	}
	return fmt.Errorf("%w: %s: %w", errRefused, why, code)
}

const lockedText = "the PIN is locked after too many wrong ones: let the security officer set it anew"

// mayLogIn looks at what the token says of wrong PINs so far. One that starts
// again and again with a wrong PIN must not lock it.
func mayLogIn(flags uint) error {
	switch {
	case flags&pkcs11.CKF_USER_PIN_LOCKED != 0:
		return fmt.Errorf("%w: %s", errRefused, lockedText)
	case flags&pkcs11.CKF_USER_PIN_FINAL_TRY != 0:
		return fmt.Errorf("%w: one more wrong PIN would lock the token, so none was sent: "+
			"log in once with the HSM's own tool and the right PIN, correct it here, then restart", errRefused)
	}
	return nil
}
