"""What a driver publishes about its devices, in whichever form, in the API's words."""
